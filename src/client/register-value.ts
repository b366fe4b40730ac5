/*
 * Values of registers as bytes. Registers are little endian, whatever reads them.
 */
import { writeU64 } from '../abi/index.ts';

/** Bytes that one register access can have. */
export type RegisterWidth = 1 | 2 | 4 | 8;

/** The value as little endian bytes at `view[at]`; excess high bits are dropped, as by a store in C. */
export function writeValue(
  view: DataView,
  at: number,
  widthBytes: RegisterWidth,
  value: number | bigint,
): void {
  if (widthBytes === 8 && typeof value === 'bigint') view.setBigUint64(at, value, true);
  else if (widthBytes === 8) writeU64(view, at, Number(value));
  else if (widthBytes === 4) view.setUint32(at, Number(value), true);
  else if (widthBytes === 2) view.setUint16(at, Number(value), true);
  else view.setUint8(at, Number(value));
}

/** The little endian value at `view[at]`: a bigint if it has 8 bytes. */
export function readValue(view: DataView, at: number, widthBytes: RegisterWidth): number | bigint {
  if (widthBytes === 4) return view.getUint32(at, true);
  if (widthBytes === 2) return view.getUint16(at, true);
  if (widthBytes === 1) return view.getUint8(at);
  return view.getBigUint64(at, true);
}
