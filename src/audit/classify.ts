/*
 * What a value means: a physical page number, the region coding, a range of file offsets, a comparison that bounds a
 * request. Everything that the verdicts know about arithmetic is here.
 */
import type { Observation } from './frame.ts';
import type { Program } from './program.ts';
import type { Fact } from './state.ts';
import { mentionsField, mentionsName, mentionsPgoff, mentionsVma, some, type Value } from './value.ts';

const OFFSET_SHIFT = /OFFSET_SHIFT/;
const OFFSET_MACRO = /(INDEX_TO_OFFSET|OFFSET_TO_INDEX|OFFSET_MASK|OFFSET_SHIFT)/;
const PHYSICAL_CALL =
  /(_pfn|_to_phys|resource_start|phys_addr|^pci_resource_start|^virt_to_|^__pa$|^__pa_symbol$|page_to_|^phys_|pa_base)/;
const PHYSICAL_FIELD =
  /(^|_)(pfn|phys|paddr|hpa|pa|addr|address|base|start|memphys|resource)(_|$|\d)|pfn|phys/;
const VFIO_SHIFT_BITS = 40;
const PAGE_BITS = 12;

export type Coding = 'kept' | 'pfn' | 'own';

/** The number behind a value of constants, as far as the sources say it. */
function constantOf(value: Value, program: Program, file: string, depth: number = 0): number | null {
  if (value.op === 'number') return value.number;
  if (depth > 8) return null;
  if (value.op === 'name') {
    if (value.name === 'PAGE_SHIFT') return PAGE_BITS;
    const body =
      program.macroNamed(value.name, file)?.body.filter(({ text }) => text !== '(' && text !== ')') ?? [];
    if (body.length !== 1) return OFFSET_SHIFT.test(value.name) ? VFIO_SHIFT_BITS : null;
    const [token] = body;
    if (token!.kind === 'number') return Number(token!.text.replace(/[uUlL]+$/, ''));
    return constantOf({ ...value, name: token!.text }, program, file, depth + 1);
  }
  if (value.op === 'unary' && value.name === 'widened')
    return constantOf(value.args[0]!, program, file, depth + 1);
  if (value.op !== 'binary') return null;
  const left = constantOf(value.args[0]!, program, file, depth + 1);
  const right = constantOf(value.args[1]!, program, file, depth + 1);
  if (left === null || right === null) return null;
  if (value.name === '+') return left + right;
  if (value.name === '-') return left - right;
  if (value.name === '<<') return left * 2 ** right;
  return null;
}

const plain = (value: Value): Value =>
  value.op === 'narrow' || (value.op === 'unary' && value.name === 'widened') ? plain(value.args[0]!) : value;

/** The terms of a sum, where `|` is a sum too. */
function terms(value: Value): Value[] {
  const bare = plain(value);
  if (bare.op === 'call' && bare.name === 'checked +') return bare.args.flatMap(terms);
  return bare.op === 'binary' && (bare.name === '+' || bare.name === '|') ? bare.args.flatMap(terms) : [bare];
}

const isPageShift = (value: Value): boolean =>
  value.op === 'name' ? value.name === 'PAGE_SHIFT' : value.op === 'number' && value.number === PAGE_BITS;

/** Whether a value is a place in physical memory, as a page number or an address. */
export function isPhysical(value: Value): boolean {
  return some(value, (part) => {
    if (part.op === 'call') return PHYSICAL_CALL.test(part.name);
    if (part.op === 'field') return PHYSICAL_FIELD.test(part.name) && part.args[0]!.op !== 'vma';
    if (part.op === 'name') return /pfn|phys/i.test(part.name) && !OFFSET_MACRO.test(part.name);
    // Something of the driver's, in pages.
    return (
      part.op === 'binary' &&
      part.name === '>>' &&
      isPageShift(plain(part.args[1]!)) &&
      !mentionsPgoff(part) &&
      !mentionsField(part, /^vm_(start|end)$/)
    );
  });
}

/** What a value in `vm_pgoff` is. */
export function codingOf(value: Value): Coding {
  const bare = plain(value);
  if (bare.op === 'pgoff') return 'kept';
  if (isPhysical(bare)) return 'pfn';
  const parts = terms(bare);
  const hasIndex = parts.some(
    (part) =>
      part.op === 'binary' &&
      part.name === '<<' &&
      isOffsetShift(part.args[1]!) &&
      !isPageShift(plain(part.args[1]!)),
  );
  return hasIndex ? 'kept' : 'own';
}

function isOffsetShift(value: Value): boolean {
  return (
    mentionsName(value, OFFSET_SHIFT) ||
    (value.op === 'number' && value.number === VFIO_SHIFT_BITS - PAGE_BITS)
  );
}

export type FaultFrom = 'region' | 'pgoff-as-pfn' | 'own';

/** What a fault handler computed the pages from. */
export function faultSource(pages: Value): FaultFrom {
  const parts = terms(pages);
  const hasRaw = parts.some((part) => part.op === 'pgoff');
  if (hasRaw) return parts.some((part) => part.op !== 'pgoff' && isPhysical(part)) ? 'own' : 'pgoff-as-pfn';
  return mentionsPgoff(pages) ? 'region' : 'own';
}

export type Decode = 'offset-shift' | 'helper' | 'own' | 'none';

/** What one piece of arithmetic on `vm_pgoff` says of how the region is found; null when it says nothing. */
export function decodeOf(seen: Observation, program: Program): 'subsystem' | 'own' | 'fixed' | null {
  const left = plain(seen.left);
  const right = plain(seen.right);
  const file = seen.frame.unit.file.path;
  const isPages = left.op === 'pgoff';
  const isBytes =
    left.op === 'binary' &&
    left.name === '<<' &&
    plain(left.args[0]!).op === 'pgoff' &&
    isPageShift(plain(left.args[1]!));
  if (seen.operator === '==' || seen.operator === '!=') {
    const one = isPages || isBytes ? right : plain(right).op === 'pgoff' ? left : null;
    return one !== null && !mentionsPgoff(one) ? 'fixed' : null;
  }
  if (!isPages && !isBytes) return null;
  if (seen.operator === '/' || seen.operator === '%') return 'own';
  if (seen.operator === '>>') {
    const bits = constantOf(right, program, file);
    const expected = isPages ? VFIO_SHIFT_BITS - PAGE_BITS : VFIO_SHIFT_BITS;
    if (bits !== null) return bits === expected ? 'subsystem' : bits === PAGE_BITS ? null : 'own';
    return mentionsName(right, OFFSET_SHIFT) ? 'subsystem' : 'own';
  }
  return null;
}

export type ZapRange = 'everything' | 'coding' | 'physical' | 'other';

/** What `unmap_mapping_range(mapping, start, length)` empties, and from which region on where that is a constant. */
export interface Zapped {
  readonly range: ZapRange;
  readonly firstRegion: number | null;
}

/** Which offsets a zap empties; null when they are its caller's. `unit` is what its numbers count. */
export function zapRange(
  start: Value,
  length: Value,
  unit: 'bytes' | 'pages',
  program: Program,
  file: string,
): Zapped | null {
  const bits = unit === 'bytes' ? VFIO_SHIFT_BITS : VFIO_SHIFT_BITS - PAGE_BITS;
  if (length.op === 'number' && length.number === 0) {
    if (start.op === 'number' && start.number === 0) return { range: 'everything', firstRegion: null };
  }
  const bare = plain(start);
  if (bare.op === 'name' && bare.name.startsWith('argument ')) return null;
  if (bare.op === 'number') {
    if (bare.number === 0 && length.op === 'number' && length.number > 2 ** bits)
      return { range: 'everything', firstRegion: null };
    return { range: 'coding', firstRegion: bare.number / 2 ** bits };
  }
  if (bare.op === 'call' && /INDEX_TO_OFFSET$/.test(bare.name)) {
    return {
      range: unit === 'bytes' ? 'coding' : 'other',
      firstRegion: regionOf(bare.args[0]!, program, file),
    };
  }
  const shift = findShift(bare);
  if (shift !== null) {
    const found = constantOf(shift.args[1]!, program, file);
    if (found !== null && found !== bits) return { range: 'other', firstRegion: null };
    return { range: 'coding', firstRegion: bare === shift ? regionOf(shift.args[0]!, program, file) : null };
  }
  return { range: isPhysical(bare) ? 'physical' : 'coding', firstRegion: null };
}

/** The shift of an index to where its region begins. */
function findShift(value: Value): Value | null {
  if (value.op === 'binary' && value.name === '<<' && mentionsName(value.args[1]!, OFFSET_SHIFT))
    return value;
  for (const arg of value.args) {
    const found = findShift(arg);
    if (found !== null) return found;
  }
  return null;
}

const PCI_REGIONS = ['BAR0', 'BAR1', 'BAR2', 'BAR3', 'BAR4', 'BAR5', 'ROM', 'CONFIG', 'VGA'];

/** The number of a region, by value or by its name in linux/vfio.h. */
export function regionOf(value: Value, program: Program, file: string): number | null {
  const bare = plain(value);
  const name = /^VFIO_PCI_(\w+?)_REGION_INDEX$/.exec(bare.name)?.[1] ?? '';
  if (bare.op === 'name' && PCI_REGIONS.includes(name)) return PCI_REGIONS.indexOf(name);
  return constantOf(bare, program, file);
}

/** Whether a value is the index that the subsystem's shift takes from `vm_pgoff`. */
export function isRegionIndex(value: Value): boolean {
  const bare = plain(value);
  return bare.op === 'binary' && bare.name === '>>' && mentionsPgoff(bare);
}

const isLength = (value: Value): boolean =>
  mentionsField(value, /^vm_end$/) && mentionsField(value, /^vm_start$/);

/** A condition that keeps a request inside something. */
export interface Bound {
  /** Whether the start of the request counts, too. */
  readonly hasStart: boolean;
  /** Whether its arithmetic can wrap, so that it can be passed by. */
  readonly wraps: boolean;
}

/** What a fact of a path bounds, or null. */
export function boundOf({ value, truth }: Fact, facts: ReadonlyMap<string, Fact>): Bound | null {
  if (value.op === 'call') {
    const covers =
      value.args.some(isLength) && !/^check_\w+_overflow$/.test(value.name) && !value.name.startsWith('->');
    return covers ? { hasStart: value.args.some(mentionsPgoff), wraps: false } : null;
  }
  if (value.op !== 'binary') return null;
  const [left, right] = value.args as [Value, Value];
  if (value.name === '==' && truth) {
    const other = isLength(left) ? right : isLength(right) ? left : null;
    if (other === null || isLength(other)) return null;
    return { hasStart: mentionsPgoff(left) || mentionsPgoff(right), wraps: false };
  }
  if (value.name !== '<') return null;
  const small = truth ? left : right;
  const big = truth ? right : left;
  const difference = plain(big);
  // `length > size - start` and `start > size - length` say the same as a sum, if the difference cannot wrap.
  const subtracted =
    difference.op === 'binary' && difference.name === '-' && mentionsVma(difference.args[1]!)
      ? difference.args[1]!
      : null;
  const limit = subtracted === null ? big : difference.args[0]!;
  const parts = subtracted === null ? [small] : [small, subtracted];
  if (!parts.some(isLength) || mentionsField(limit, /^vm_(start|end)$/) || !isSize(limit)) return null;
  const isHeld =
    subtracted === null ||
    [...facts.values()].some((other) => {
      if (other.value.op !== 'binary' || other.value.name !== '<') return false;
      const below = other.truth ? other.value.args[0]! : other.value.args[1]!;
      return plain(below).key === plain(subtracted).key;
    });
  return { hasStart: parts.some(mentionsPgoff), wraps: parts.some(wraps) || !isHeld };
}

/** Whether something can be the size of a region: not zero, and not the room between two regions. */
function isSize(value: Value): boolean {
  if (value.op === 'number') return value.number > 0 && value.number < 2 ** VFIO_SHIFT_BITS;
  if (some(value, ({ op }) => op === 'field' || op === 'call' || op === 'index' || op === 'unknown'))
    return true;
  return !mentionsName(value, OFFSET_SHIFT);
}

function wraps(value: Value): boolean {
  // What an array is indexed with, or a function is asked for, is no part of the sum.
  if (value.op === 'call' || value.op === 'index' || value.op === 'field') return false;
  if (value.op === 'narrow') {
    const inside = value.args[0]!;
    return (
      isLength(inside) || some(inside, ({ op, name }) => op === 'binary' && (name === '<<' || name === '*'))
    );
  }
  if (value.op === 'binary' && (value.name === '<<' || value.name === '*') && value.args[0]!.op === 'narrow')
    return true;
  return value.args.some(wraps);
}

/** Whether a fact says that the mapping is shared. */
export function requiresShared({ value, truth }: Fact): boolean {
  const isShared = (part: Value): boolean =>
    some(part, ({ op, name }) => op === 'name' && /SHARED|MAYSHARE/.test(name));
  if (!isShared(value)) return false;
  if (value.op === 'binary' && value.name === '==') {
    const [left, right] = value.args as [Value, Value];
    return truth ? isShared(right) && isShared(left) : false;
  }
  if (value.op === 'binary' && value.name === '&') {
    const flags = value.args.flatMap((side) => terms(side)).filter(({ op }) => op === 'name');
    return truth && flags.every(isShared);
  }
  return truth && value.op === 'call';
}
