/*
 * Holds a world's answers against the kernel's, record by record: equal, different on purpose and exactly as listed, absent
 * as listed, or wrong. And the lists against the records, so that none of them says more than there is.
 */
import { DIFFERENCES, type Difference, type DifferentRecords } from './differences.ts';
import type { GoldenLine } from './golden.ts';
import type { Answer } from './probe.ts';
import { ABSENT, OUT_OF_SCOPE, reduced, WITHOUT_DATA } from './scope.ts';

export type Verdict =
  | { readonly kind: 'equal' | 'equal but for the data' | 'deliberate' | 'absent' | 'out of scope' }
  | { readonly kind: 'wrong'; readonly why: string };

export interface Lists {
  readonly differences: readonly Difference[];
  readonly absent: typeof ABSENT;
  readonly outOfScope: typeof OUT_OF_SCOPE;
}

export const LISTS: Lists = { differences: DIFFERENCES, absent: ABSENT, outOfScope: OUT_OF_SCOPE };

/** The verdict on one record. `answer` is undefined if no step asks for it. */
export function judge(
  line: GoldenLine,
  answer: Answer | undefined,
  world: string,
  lists: Lists = LISTS,
): Verdict {
  const { id } = line;
  const outside = lists.outOfScope.filter(({ records }) => records.test(id));
  if (answer === undefined) {
    if (outside.length > 0) return { kind: 'out of scope' };
    return wrong('no step asks it, and no pattern of OUT_OF_SCOPE says why');
  }
  if (outside.length > 0) return wrong('a step asks it, though OUT_OF_SCOPE says that none does');
  const absent = lists.absent.some((each) => each.worlds.includes(world) && each.records.test(id));
  if (answer.says === null) {
    return absent ? { kind: 'absent' } : wrong('this world has no answer, and ABSENT does not say why');
  }
  if (absent) return wrong(`ABSENT lists it, but the answer is ${answer.says}`);
  if (answer.wrongFaults !== null) return wrong(answer.wrongFaults);
  return compare(line, reduced(id, answer.says), expectedDifference(id, world, lists.differences));
}

function compare({ id, answer }: GoldenLine, ours: string, listed: DifferentRecords | null): Verdict {
  const theirs = reduced(id, answer);
  if (listed === null) {
    if (ours !== theirs) return wrong(`Linux: ${theirs}; here: ${ours}`);
    return { kind: WITHOUT_DATA.records.test(id) ? 'equal but for the data' : 'equal' };
  }
  if (listed.ours === theirs) return wrong(`it is listed as a difference, but is the same: ${theirs}`);
  if (listed.ours !== ours) return wrong(`Linux: ${theirs}; listed: ${listed.ours}; here: ${ours}`);
  return { kind: 'deliberate' };
}

function expectedDifference(
  id: string,
  world: string,
  differences: readonly Difference[],
): DifferentRecords | null {
  for (const { records } of differences) {
    for (const record of records) {
      if (matches(record, id) && (record.worlds?.includes(world) ?? true)) return record;
    }
  }
  return null;
}

export function matches({ id: pattern }: DifferentRecords, id: string): boolean {
  return typeof pattern === 'string' ? pattern === id : pattern.test(id);
}

/** What is wrong with the lists and steps themselves, one sentence each. */
export function listProblems(
  lines: readonly GoldenLine[],
  asked: readonly string[],
  worlds: readonly string[],
  lists: Lists = LISTS,
): string[] {
  const ids = lines.map(({ id }) => id);
  const problems: string[] = [];
  for (const id of asked) if (!ids.includes(id)) problems.push(`a step asks ${id}, which is no record`);
  const repeated = asked.filter((id, at) => asked.indexOf(id) !== at);
  for (const id of repeated) problems.push(`two steps ask ${id}`);
  for (const { records } of lists.outOfScope) {
    if (!ids.some((id) => records.test(id))) problems.push(`OUT_OF_SCOPE: ${records} is no record`);
  }
  for (const { records, worlds: named } of lists.absent) {
    if (!asked.some((id) => records.test(id))) problems.push(`ABSENT: ${records} is no step`);
    for (const world of named)
      if (!worlds.includes(world)) problems.push(`ABSENT: there is no world ${world}`);
  }
  for (const { matter, records } of lists.differences) {
    for (const record of records) {
      if (!asked.some((id) => matches(record, id))) problems.push(`${matter}: ${record.id} is no step`);
      for (const world of record.worlds ?? []) {
        if (!worlds.includes(world)) problems.push(`${matter}: there is no world ${world}`);
      }
    }
  }
  return problems;
}

function wrong(why: string): Verdict {
  return { kind: 'wrong', why };
}
