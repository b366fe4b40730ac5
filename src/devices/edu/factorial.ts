/**
 * edu's computation: n! in 32 bits. The specification's loop multiplies n times, for up to 2^32 - 1; the
 * product is 0 for good once 32 factors of two have come together, so there is never more to do than for n =
 * 34.
 */

/** n! modulo 2^32 for any unsigned 32-bit n. */
export function factorial32(n: number): number {
  let product = 1;
  for (let factor = n >>> 0; factor > 1 && product !== 0; factor--) {
    product = Math.imul(product, factor) >>> 0;
  }
  return product;
}
