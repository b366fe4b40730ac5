/*
 * Bit arithmetic of the register engine: 8-byte values are two unsigned halves of 32 bits, and an access covers the
 * bytes [from, to) of a register.
 */

/** 32 bits after a write of `data`: the bits of `mask` are replaced, or cleared where `data` has ones. Unsigned. */
export function written(old: number, data: number, mask: number, clears: boolean): number {
  return (clears ? old & ~(data & mask) : (old & ~mask) | (data & mask)) >>> 0;
}

/** Cuts a value to a register's width; for 8 bytes, to its lower half. */
export function cut(value: number, width: number): number {
  return width >= 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff);
}

/** Which bits of the lower half the bytes [from, to) of a register are. */
export function lowByteMask(from: number, to: number): number {
  return belowByte(to) & ~belowByte(from);
}

/** Which bits of the upper half they are. */
export function highByteMask(from: number, to: number): number {
  return belowByte(to - 4) & ~belowByte(from - 4);
}

/** Bits of all bytes below `byte` in a 32-bit half. */
function belowByte(byte: number): number {
  if (byte <= 0) return 0;
  return byte >= 4 ? -1 : (1 << (8 * byte)) - 1;
}
