/*
 * Findings of the model checker by name, for tests of what shows them; and a small program whose every step can be told by hand.
 */
import { type Finding, PROGRAMS, search, type Trace, trace } from '../../src/explore/index.ts';
import { DESIGNS, type Design, type Program, type Property } from '../../src/sim/index.ts';

export function designNamed(name: string): Design {
  const design = DESIGNS.find((each) => each.name === name);
  if (design === undefined) throw new Error(`no design ${name}`);
  return design;
}

export function programNamed(name: string): Program {
  const program = PROGRAMS.find((each) => each.name === name);
  if (program === undefined) throw new Error(`no program ${name}`);
  return program;
}

/** The finding of a property in a program under a design; an error if there is none. */
export function findingOf(program: Program, design: Design, property: Property): Finding {
  const finding = search(program, design).findings.find((each) => each.property === property);
  if (finding === undefined)
    throw new Error(`${program.name} does not break ${property} under ${design.name}`);
  return finding;
}

/** The trace of such a finding, by names. */
export function foundTrace(program: string, design: string, property: Property): Trace {
  const [what, how] = [programNamed(program), designNamed(design)];
  return trace(what, how, findingOf(what, how, property).moves);
}

/** Every finding of every built-in program under a design. */
export function allFindings(
  design: Design,
): { program: Program; finding: Finding; trace: Trace; property: Property }[] {
  return PROGRAMS.flatMap((program) =>
    search(program, design).findings.map((finding) => ({
      program,
      finding,
      property: finding.property,
      trace: trace(program, design, finding.moves),
    })),
  );
}

/** Names that a terminal, a markup language or a comment could take for something else. */
export const NASTY: string = `<b>&"'\`*/\u001b[31m\n\u202e${String.fromCharCode(0xd800)}\${x}\\`;

/** A device is opened and its memory decode turned off, all with names that nobody should choose. */
export const NASTY_PROGRAM: Program = {
  name: NASTY,
  devices: { [NASTY]: { kind: 'pci', regions: [{ index: 2 }] } },
  processes: [NASTY],
  containers: [NASTY],
  setup: [
    { op: 'open', process: NASTY, device: NASTY },
    { op: 'mmap', process: NASTY, device: NASTY, region: 2, as: NASTY },
    { op: 'mapDma', container: NASTY, vma: NASTY, as: NASTY },
  ],
  threads: { [NASTY]: [{ op: 'disable', device: NASTY }] },
};
