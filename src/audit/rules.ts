/*
 * The rules: what a verdict means to a maintainer. Names and severities are part of the interface; docs/audit has a page for
 * each.
 */
import type { Consumer } from './consumers.ts';
import { lineAt, type Place, type SourceFile, type Token } from './tokens.ts';
import type { FunctionUnit } from './units.ts';
import type { HandlerAnalysis } from './verdict.ts';
import type { ZapAnalysis } from './zap.ts';

export type Severity = 'error' | 'warning' | 'note';

export interface Rule {
  readonly name: string;
  /** One sentence, what is wrong. */
  readonly summary: string;
  /** The severest that its findings have. */
  readonly severity: Severity;
}

export const RULES: readonly Rule[] = [
  {
    name: 'pgoff-overwritten',
    summary: 'An mmap handler stores a physical page number in vm_pgoff, where the region is coded.',
    severity: 'error',
  },
  {
    name: 'zap-misses-mappings',
    summary: 'The driver takes mappings away by a range of offsets in which its own mappings are not.',
    severity: 'error',
  },
  {
    name: 'pgoff-own-coding',
    summary:
      'An mmap handler leaves something in vm_pgoff that is neither the region coding nor a page number.',
    severity: 'note',
  },
  {
    name: 'decode-own-scheme',
    summary:
      'The region is taken from vm_pgoff by a scheme of the driver, and not by the offset shift of VFIO.',
    severity: 'note',
  },
  {
    name: 'bounds-size-unchecked',
    summary: 'A request can map more than the region has.',
    severity: 'error',
  },
  {
    name: 'bounds-shared-unchecked',
    summary: 'A private mapping is accepted.',
    severity: 'note',
  },
  {
    name: 'bounds-overflow',
    summary: 'The check of the range can wrap, so that a request beyond the region passes it.',
    severity: 'warning',
  },
  {
    name: 'pgoff-read-as-pfn',
    summary: 'Code outside the driver takes vm_pgoff of a VFIO mapping for a physical page number.',
    severity: 'error',
  },
];

/** Something that somebody should look at. */
export interface Finding {
  readonly rule: string;
  readonly severity: Severity;
  readonly message: string;
  /** Relative to the tree. */
  readonly file: string;
  /** From 1, as are columns; `endColumn` is the one after the last character, on the same line. */
  readonly line: number;
  readonly column: number;
  readonly endColumn: number;
  /** The handler, or the function that reads. */
  readonly function: string;
  /** All handlers that come by this place. */
  readonly handlers: readonly string[];
}

export function handlerFindings(handler: HandlerAnalysis, zap: ZapAnalysis): Finding[] {
  const found: Finding[] = [];
  const { unit, write, coding, bounds } = handler;
  const at = (place: Place | null): Spot => (place === null ? spotOfUnit(unit) : spotOfLine(place, unit));
  const add = (rule: string, severity: Severity, message: string, spot: Spot): void => {
    found.push({ rule, severity, message, function: unit.name, handlers: [unit.name], ...spot });
  };
  const zapped = zap.at === null ? '' : ` at ${zap.at.file}:${zap.at.line}`;

  if (coding === 'pfn' && write !== null) {
    const consequence =
      zap.zap === 'misses'
        ? `the zap by offsets${zapped} misses it`
        : zap.zap === 'hits'
          ? `only the way it zaps${zapped} still finds it`
          : 'nothing can take it away by offset';
    add(
      'pgoff-overwritten',
      zap.zap === 'misses' ? 'error' : 'warning',
      `stores a physical page number in vm_pgoff: the mapping no longer names its region, and ${consequence}`,
      spotOfTokens(write.expression.token, write.expression.last),
    );
  }
  if (coding === 'own' && write !== null) {
    add(
      'pgoff-own-coding',
      'note',
      'leaves something in vm_pgoff that is neither the region coding nor a page number',
      spotOfTokens(write.expression.token, write.expression.last),
    );
  }
  if (zap.zap === 'misses') {
    const kept = coding === 'kept' ? 'keep the region coding' : 'have something else in vm_pgoff';
    add(
      'zap-misses-mappings',
      'error',
      `the zap${zapped} goes by a range in which the mappings are not: they ${kept}`,
      at(zap.at),
    );
  }
  if (handler.decode === 'own') {
    add(
      'decode-own-scheme',
      'note',
      'finds the region by a scheme of its own and not by the offset shift of VFIO',
      at(handler.decodeAt),
    );
  }
  if (!bounds.size) {
    add(
      'bounds-size-unchecked',
      'error',
      'maps a request whose start and length were not both held against the size of the region',
      at(handler.boundsAt ?? handler.mappedAt),
    );
  }
  if (!bounds.shared) {
    add(
      'bounds-shared-unchecked',
      'note',
      'does not require VM_SHARED: for a private mapping remap_pfn_range stores a page number in vm_pgoff, and writes go to copies',
      at(handler.mappedAt),
    );
  }
  if (bounds.overflow) {
    add(
      'bounds-overflow',
      'warning',
      'the arithmetic of the range check can wrap in 32 bits',
      at(handler.boundsAt),
    );
  }
  return found;
}

export function consumerFinding(consumer: Consumer): Finding {
  return {
    rule: 'pgoff-read-as-pfn',
    severity: 'error',
    message:
      "takes vm_pgoff of a mapping that may be VFIO's for a physical page number; follow_pfnmap_start() asks the page table",
    function: consumer.unit.name,
    handlers: [],
    ...spotOfTokens(consumer.token, consumer.last),
  };
}

interface Spot {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly endColumn: number;
}

function spotOfTokens(first: Token, last: Token): Spot {
  const line = lineAt(first.file, first.at);
  const start = first.file.lineStarts[line - 1]!;
  const lineEnd = endOfLine(first.file, line);
  const end = last.file === first.file && last.at >= first.at ? last.at + last.text.length : first.at + 1;
  return {
    file: first.file.path,
    line,
    column: first.at - start + 1,
    endColumn: Math.max(Math.min(end, lineEnd), first.at + 1) - start + 1,
  };
}

function spotOfLine(place: Place, unit: FunctionUnit): Spot {
  if (place.file !== unit.file.path) return { ...place, column: 1, endColumn: 2 };
  const start = unit.file.lineStarts[place.line - 1]!;
  const text = unit.file.text.slice(start, endOfLine(unit.file, place.line));
  const indent = text.length - text.trimStart().length;
  return { ...place, column: indent + 1, endColumn: text.trimEnd().length + 1 };
}

function spotOfUnit(unit: FunctionUnit): Spot {
  const start = unit.file.lineStarts[unit.line - 1]!;
  const text = unit.file.text.slice(start, endOfLine(unit.file, unit.line));
  const column = Math.max(text.indexOf(unit.name), 0) + 1;
  return { file: unit.file.path, line: unit.line, column, endColumn: column + unit.name.length };
}

function endOfLine(file: SourceFile, line: number): number {
  const next = file.lineStarts[line];
  return next === undefined ? file.text.length : next - 1;
}
