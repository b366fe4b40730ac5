/* The error class carries the errno's name and number; assert throws what no client can cause. */
import { describe, expect, it } from 'vitest';
import { assert, VfioError } from './error.ts';

describe('VfioError', () => {
  it('has the errno of asm-generic/errno-base.h beside its name', () => {
    const error = new VfioError('EINVAL', 'no such region', { cause: 'the test' });
    expect(error).toBeInstanceOf(Error);
    expect([error.name, error.code, error.errno]).toEqual(['VfioError', 'EINVAL', 22]);
    expect([error.message, error.cause]).toEqual(['no such region', 'the test']);
  });
});

describe('assert', () => {
  it('throws an ordinary error with the message, and only when the condition fails', () => {
    expect(() => assert(1, 'one')).not.toThrow();
    expect(() => assert(0, 'areas overlap')).toThrow('vfio: areas overlap');
    expect(() => assert(null, 'x')).not.toThrow(VfioError);
  });
});
