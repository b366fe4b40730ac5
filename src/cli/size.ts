/**
 * Sizes and numbers as people write them on a command line: 64G, 1M, 0x1000, 4096.
 */

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** A size in bytes from text such as `64G` (binary units, upper or lower case); null if it is not one. */
export function parseSize(text: string): number | null {
  const match = /^(0x[0-9a-f]+|[0-9]+)([kmgt]?)(i?b)?$/i.exec(text.trim());
  if (match === null) return null;
  const size = Number(match[1]) * UNITS[(match[2] ?? '').toUpperCase()]!;
  return Number.isSafeInteger(size) ? size : null;
}

/** A size in bytes the way `lspci` shows it: the largest unit that leaves a whole number. */
export function formatSize(sizeBytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const factor = UNITS[unit]!;
    if (sizeBytes >= factor && sizeBytes % factor === 0) return `${sizeBytes / factor}${unit}`;
  }
  return String(sizeBytes);
}

/** `0x` and at least `digits` hexadecimal digits. */
export function hex(value: number | bigint, digits: number = 1): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}
