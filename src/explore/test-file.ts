/*
 * A finding as a vitest file that fails as long as the design breaks the property.
 *
 * Moves are numbers of threads and choices, so under a changed design they may lead elsewhere, or nowhere: a design with fewer steps
 * ends a thread before its moves are used up. Such a replay must not pass as if it had shown something. So the file has two tests:
 * one takes the moves, and is skipped with the reason where they cannot be taken to their end without breaking the property; the
 * other tries every other order of the program's steps.
 */
import { VfioError } from '../core/index.ts';
import type { Design } from '../sim/design.ts';
import { DESIGNS } from '../sim/designs.ts';
import type { Property } from '../sim/machine.ts';
import type { Program } from '../sim/program.ts';
import { literal, quoted } from './literal.ts';
import { replay } from './replay.ts';
import { RULES, ruleTitle } from './rules.ts';
import type { Finding } from './search.ts';
import { capital, visible, wrap } from './text.ts';
import { brokenIn } from './trace.ts';

const COMMENT_COLUMNS = 110;
/** As many as take a few seconds. */
const STATE_LIMIT = 200_000;

/**
 * The text of a test file, which needs vitest and this package. EINVAL: the moves of the finding are not
 * possible, or do not break the property.
 */
export function testFile(program: Program, design: Design, finding: Finding, property: Property): string {
  const texts = [...new Set(brokenIn(replay(program, design, finding.moves), property))];
  if (texts.length === 0)
    throw new VfioError(
      'EINVAL',
      `these moves do not break ${property} under ${design.name}; give the property that they were found for`,
    );
  const known = DESIGNS.some((each) => JSON.stringify(each) === JSON.stringify(design));
  const { name } = program;
  const id = quoted(property);
  const comment = [
    `${capital(ruleTitle(property))}: ${RULES[property].sentence}`,
    `The moves below break it, in program ${name} under the design ${design.name}:`,
    ...texts.map((text) => `${text}.`),
  ];
  const designLines = known
    ? `const design = DESIGNS.find(({ name }) => name === ${quoted(design.name)})!;`
    : `const design: Design = ${literal(design)};`;
  const imports = [
    `import { brokenIn, replay, replayPossible, search } from ${quoted('vfio/explore')};`,
    `import ${known ? '{ DESIGNS, type Program }' : 'type { Design, Program }'} from ${quoted('vfio/sim')};`,
    `import { expect, test } from ${quoted('vitest')};`,
  ];
  return `/*
${comment.flatMap(commentLines).join('\n')}
 */
${imports.join('\n')}

const program: Program = ${literal(program)};

${designLines}

/** Who takes the next step: the number of a thread, the setup being 0, times 64, plus its choice where it has one. */
const moves = ${literal(finding.moves)};

test(${quoted(`${property} in ${name}: the moves that broke it`)}, (context) => {
  const { trace, refusal } = replayPossible(program, design, moves);
  const broken = brokenIn(trace, ${id});
  expect(broken, broken.join('; ')).toEqual([]);
  // Another design may have no such step. Then only the next test says something.
  if (refusal !== null) context.skip(refusal);
});

test(${quoted(`${property} in ${name}: any other order of steps`)}, { timeout: 60_000 }, () => {
  // What lies beyond so many states is not tried.
  const { findings } = search(program, design, { stateLimit: ${literal(STATE_LIMIT)} });
  const found = findings.filter(({ property }) => property === ${id});
  const broken = found.flatMap(({ moves }) => brokenIn(replay(program, design, moves), ${id}));
  expect(broken, broken.join('; ')).toEqual([]);
});
`;
}

/** Lines of a comment that no name can end. */
function commentLines(text: string): string[] {
  return wrap(visible(text).replaceAll('*/', '* /'), COMMENT_COLUMNS).map((line) => ` * ${line}`);
}
