/*
 * Bytes written by hand, so that tests of the protocol do not use the codecs that they test. Little endian.
 */

/** Bytes of an ordinary buffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

function number(sizeBytes: number, value: number | bigint): Bytes {
  const bytes = new Uint8Array(sizeBytes);
  let rest = BigInt(value);
  for (let i = 0; i < sizeBytes; i++) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

export const u8 = (value: number): Bytes => number(1, value);
export const u16 = (value: number): Bytes => number(2, value);
export const u32 = (value: number): Bytes => number(4, value);
export const u64 = (value: number | bigint): Bytes => number(8, value);

/** UTF-8, without a final NUL. */
export const text = (value: string): Bytes => new TextEncoder().encode(value);

/** Bytes one after the other. */
export function concat(...parts: readonly Uint8Array[]): Bytes {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Reads a number back. */
export function read(bytes: Uint8Array, at: number, sizeBytes: number): number {
  let value = 0;
  for (let i = sizeBytes - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? Number.NaN);
  return value;
}

/** `'01 02 ff'`, for comparing with what a reference shows. */
export function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** Bytes that differ from their neighbours. */
export const filled = (length: number): Bytes =>
  Uint8Array.from({ length }, (_, i) => (i * 13 + 5) & 0xff) as Bytes;
