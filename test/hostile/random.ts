/*
 * Seeded randomness for hostile messages: the same seed sends the same bytes.
 */

/** Numbers at which code that counts goes wrong. */
const EDGES = [
  0, 1, 7, 8, 15, 16, 31, 32, 4095, 4096, 0x100000, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff,
];

/** Dice that fall the same way each time. */
export interface Dice {
  /** A whole number from 0 to `below` - 1. */
  below(below: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** Up to `most` results of `make`. */
  times<T>(most: number, make: () => T): T[];
  /** A copy of a message with something wrong in it. Its size field mostly says the truth, so that the stream goes on. */
  spoil(message: Uint8Array): Uint8Array;
}

/** Dice for a seed (mulberry32). */
export function random(seed: number): Dice {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const dice: Dice = {
    below: (below) => Math.floor(next() * below),
    chance: (probability) => next() < probability,
    pick: (from) => from[dice.below(from.length)]!,
    times: (most, make) => Array.from({ length: dice.below(most + 1) }, make),
    spoil: (message) => spoil(message, dice),
  };
  return dice;
}

function spoil(message: Uint8Array, dice: Dice): Uint8Array {
  let bytes: Uint8Array<ArrayBuffer> = new Uint8Array(message);
  if (dice.chance(0.2)) bytes = resized(bytes, dice);
  for (let i = dice.below(4); i > 0; i--) {
    const view = new DataView(bytes.buffer);
    const field = dice.below(Math.floor(bytes.length / 4)) * 4;
    // The payload more often than the header.
    const at = field < 16 && dice.chance(0.7) ? Math.min(16, bytes.length - 4) : field;
    if (dice.chance(0.5)) view.setUint32(at, dice.pick(EDGES), true);
    else view.setUint8(dice.below(bytes.length), dice.below(256));
  }
  if (dice.chance(0.98)) new DataView(bytes.buffer).setUint32(4, bytes.length, true);
  return bytes;
}

function resized(bytes: Uint8Array, dice: Dice): Uint8Array<ArrayBuffer> {
  const length = 16 + dice.below(dice.chance(0.5) ? bytes.length - 15 : 300);
  const other = new Uint8Array(length);
  other.set(bytes.subarray(0, length));
  for (let i = bytes.length; i < length; i++) other[i] = dice.below(256);
  return other;
}
