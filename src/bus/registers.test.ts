/*
 * The register engine: each rule of an access by example. registers.model.test.ts compares it with a naive model.
 */
import { describe, expect, expectTypeOf, test, vi } from 'vitest';
import { fieldOf, type RegisterArray, registers, withField } from './registers.ts';

interface Block {
  read(offset: number, count: number, view: DataView, at: number): number;
  write(offset: number, count: number, view: DataView, at: number): number;
}

/** Bytes of a read, in hex. */
function read(block: Block, offset: number, count: number): string {
  const bytes = new Uint8Array(count + 4).fill(0x55);
  expect(block.read(offset, count, new DataView(bytes.buffer), 2)).toBe(0);
  expect([bytes[0], bytes[1], bytes[count + 2], bytes[count + 3]]).toEqual([0x55, 0x55, 0x55, 0x55]);
  return Buffer.from(bytes.subarray(2, 2 + count)).toString('hex');
}

function write(block: Block, offset: number, hex: string): void {
  const bytes = Buffer.from(`ffff${hex}`, 'hex');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  expect(block.write(offset, bytes.length - 2, view, 2)).toBe(0);
}

describe('accesses of any shape', () => {
  const make = () =>
    registers({
      A: { offset: 0x0, width: 4, access: 'rw', reset: 0x11223344 },
      B: { offset: 0x4, width: 4, access: 'rw', reset: 0x55667788 },
      C: { offset: 0x8, width: 2, access: 'rw', reset: 0xaabb },
      D: { offset: 0xc, width: 8, access: 'rw', reset: 0x0102030405060708n },
    });

  test.each([
    ['one byte', 0x1, 1, '33'],
    ['a whole register', 0x0, 4, '44332211'],
    ['two registers', 0x0, 8, '4433221188776655'],
    ['unaligned, over a boundary', 0x3, 2, '1188'],
    ['over a gap', 0x8, 8, 'bbaaffff08070605'],
    ['half of 8 bytes', 0x10, 4, '04030201'],
    ['8 bytes', 0xc, 8, '0807060504030201'],
    ['over the end', 0x13, 3, '01ffff'],
    ['far beyond', 0x1000, 4, 'ffffffff'],
    ['everything', 0x0, 20, '4433221188776655bbaaffff0807060504030201'],
  ])('reads %s', (_, offset, count, expected) => {
    expect(read(make(), offset, count)).toBe(expected);
  });

  test('a byte write keeps the other bytes', () => {
    const regs = make();
    write(regs, 0x1, 'ee');
    expect(regs.A).toBe(0x1122ee44);
  });

  test('an unaligned write over a boundary reaches both registers', () => {
    const regs = make();
    write(regs, 0x2, 'aabbccdd');
    expect([regs.A, regs.B]).toEqual([0xbbaa3344, 0x5566ddcc]);
  });

  test('the upper half of 8 bytes alone', () => {
    const regs = make();
    write(regs, 0x10, 'efbeadde');
    expect([regs.low('D'), regs.high('D')]).toEqual([0x05060708, 0xdeadbeef]);
  });

  test('a write over gaps reaches the registers around them', () => {
    const regs = make();
    write(regs, 0x8, '0000000000000000');
    expect([regs.C, regs.low('D'), regs.high('D')]).toEqual([0, 0, 0x01020304]);
  });
});

describe('access kinds', () => {
  test('ro ignores writes', () => {
    const regs = registers({ ID: { offset: 0, width: 4, access: 'ro', reset: 0xed } });
    write(regs, 0, 'ffffffff');
    expect(read(regs, 0, 4)).toBe('ed000000');
  });

  test('rw changes the bits of its mask', () => {
    const regs = registers({ CONTROL: { offset: 0, width: 2, access: 'rw', reset: 0x8001, mask: 0x0ff0 } });
    write(regs, 0, 'ffff');
    expect(regs.CONTROL).toBe(0x8ff1);
    write(regs, 0, '0000');
    expect(regs.CONTROL).toBe(0x8001);
  });

  test('w1c clears bits of its mask where ones are written', () => {
    const regs = registers({ STATUS: { offset: 0, width: 4, access: 'w1c', reset: 0xf00f, mask: 0xff } });
    write(regs, 0, '03ff0000');
    expect(regs.STATUS).toBe(0xf00c);
    write(regs, 1, 'ff');
    expect(regs.STATUS).toBe(0xf00c);
  });

  test('rc clears what was read, and only that', () => {
    const regs = registers({
      CAUSE: { offset: 0, width: 4, access: 'rc', reset: 0x8765_4321, mask: 0x00ff_ffff },
    });
    expect(read(regs, 0, 1)).toBe('21');
    expect(regs.CAUSE).toBe(0x8765_4300);
    expect(read(regs, 0, 4)).toBe('00436587');
    expect(regs.CAUSE).toBe(0x8700_0000);
    write(regs, 0, '00000000');
    expect(regs.CAUSE).toBe(0x8700_0000);
  });

  test('wo reads as 0 and keeps what was written', () => {
    const doorbell = vi.fn();
    const regs = registers({ DOORBELL: { offset: 0, width: 4, access: 'wo', write: doorbell } });
    write(regs, 0, '07000000');
    expect(read(regs, 0, 4)).toBe('00000000');
    expect(regs.DOORBELL).toBe(7);
    expect(doorbell).toHaveBeenCalledExactlyOnceWith(7, 0, 0);
  });

  test('custom stores nothing by itself', () => {
    const written: number[][] = [];
    const regs = registers({
      LIVENESS: {
        offset: 0,
        width: 4,
        access: 'custom',
        read: () => 0x1234_5678,
        write: (value, previous) => written.push([value, previous]),
      },
    });
    regs.LIVENESS = 0xff00;
    write(regs, 0, 'aa');
    expect(written).toEqual([[0xffaa, 0xff00]]);
    expect(regs.LIVENESS).toBe(0xff00);
    expect(read(regs, 2, 2)).toBe('3412');
  });
});

describe('handlers', () => {
  test('a write handler sees what the register holds and held', () => {
    const seen: number[][] = [];
    const regs = registers({
      CONTROL: {
        offset: 0,
        width: 4,
        access: 'rw',
        mask: 0xf,
        reset: 1,
        write: (value, previous) => {
          seen.push([value, previous, regs.CONTROL]);
        },
      },
      STATUS: {
        offset: 4,
        width: 4,
        access: 'w1c',
        reset: 3,
        write: (value, previous) => {
          seen.push([value, previous, regs.STATUS]);
        },
      },
    });
    write(regs, 0, 'ff00000001000000');
    expect(seen).toEqual([
      [0xf, 1, 0xf],
      [2, 3, 2],
    ]);
  });

  test('are called once an access, however wide it is, in ascending order', () => {
    const calls: string[] = [];
    const handlers = (name: string) => ({
      read: () => {
        calls.push(`read ${name}`);
        return 0;
      },
      write: () => {
        calls.push(`write ${name}`);
      },
    });
    const regs = registers({
      B: { offset: 4, width: 8, access: 'custom', ...handlers('B') },
      A: { offset: 0, width: 4, access: 'custom', ...handlers('A') },
    });
    read(regs, 2, 9);
    write(regs, 1, '00'.repeat(10));
    expect(calls).toEqual(['read A', 'read B', 'write A', 'write B']);
  });

  test('can be given beside a table that is shared data', () => {
    const TABLE = {
      GO: { offset: 0, width: 4, access: 'wo' },
      ID: { offset: 4, width: 4, access: 'ro' },
    } as const;
    const first: number[] = [];
    const second: number[] = [];
    const a = registers(TABLE, { handlers: { GO: { write: (value) => first.push(value) } } });
    const b = registers(TABLE, { handlers: { GO: { write: (value) => second.push(value) } } });
    write(a, 0, '01000000');
    write(b, 0, '02000000');
    a.ID = 7;
    expect([first, second, a.ID, b.ID]).toEqual([[1], [2], 7, 0]);
  });

  test('a read handler of 8 bytes may return a bigint', () => {
    const regs = registers({
      TIME: { offset: 0, width: 8, access: 'ro', read: () => 0xfedc_ba98_7654_3210n },
    });
    expect(read(regs, 0, 8)).toBe('1032547698badcfe');
    expect(read(regs, 6, 2)).toBe('dcfe');
  });

  test('a read handler gives no more bits than the register has', () => {
    const regs = registers({ SMALL: { offset: 0, width: 2, access: 'ro', read: () => 0x12345 } });
    expect(read(regs, 0, 4)).toBe('4523ffff');
  });
});

describe('what no register answers', () => {
  test('unknown bytes read as ones or zeros, and an incident is reported once an access', () => {
    const onIncident = vi.fn();
    const regs = registers({ A: { offset: 4, width: 4, access: 'rw' } }, { onIncident, unknown: 'zeros' });
    expect(read(regs, 0, 12)).toBe('00'.repeat(12));
    write(regs, 8, '00000000');
    read(regs, 4, 4);
    expect(onIncident.mock.calls).toEqual([
      ['unknown register read', 0, 12],
      ['unknown register write', 8, 4],
    ]);
  });

  test('a block can take 4 and 8 byte aligned accesses only', () => {
    const onIncident = vi.fn();
    const regs = registers({ A: { offset: 0, width: 8, access: 'rw' } }, { widths: [4, 8], onIncident });
    write(regs, 0, '0102030405060708');
    write(regs, 0, 'ffff');
    expect(read(regs, 4, 4)).toBe('05060708');
    expect(read(regs, 2, 4)).toBe('ffffffff');
    expect(read(regs, 0, 16)).toBe('ff'.repeat(16));
    expect(onIncident.mock.calls.map((call) => call.slice(1))).toEqual([
      [0, 2],
      [2, 4],
      [0, 16],
    ]);
  });
});

describe('values by name', () => {
  const TABLE = {
    COUNT: { offset: 0, width: 4, access: 'rw', reset: 5 },
    SMALL: { offset: 4, width: 1, access: 'ro' },
    WIDE: { offset: 8, width: 8, access: 'rw' },
    DOORBELL: { offset: 0x10, width: 4, access: 'wo', count: 3, stride: 8 },
    MODE: {
      offset: 0x28,
      width: 8,
      access: 'rw',
      fields: { ON: 0, SPEED: [4, 6], HIGH: [30, 33], ALL: [34, 63] },
    },
  } as const;

  test('are typed by the literal', () => {
    const regs = registers(TABLE);
    expectTypeOf(regs.COUNT).toEqualTypeOf<number>();
    expectTypeOf(regs.DOORBELL).toEqualTypeOf<RegisterArray>();
    expectTypeOf(regs.get<'MODE'>)
      .parameter(1)
      .toEqualTypeOf<'ON' | 'SPEED' | 'HIGH' | 'ALL'>();
    // @ts-expect-error: there is no such register
    expect(regs.NOTHING).toBeUndefined();
  });

  test('wrap at the width, as in hardware', () => {
    const regs = registers(TABLE);
    regs.COUNT = 0xffff_ffff;
    regs.COUNT += 2;
    regs.SMALL = 0x1ff;
    expect([regs.COUNT, regs.SMALL]).toEqual([1, 0xff]);
    regs.COUNT |= 0x8000_0000;
    expect(regs.COUNT).toBe(0x8000_0001);
  });

  test('8 bytes are numbers, exact below 2^53; halves are always exact', () => {
    const regs = registers(TABLE);
    regs.WIDE = 2 ** 52 + 1;
    expect([regs.WIDE, regs.low('WIDE'), regs.high('WIDE')]).toEqual([2 ** 52 + 1, 1, 0x10_0000]);
    regs.setHalves('WIDE', 0xffff_ffff, 0x8000_0000);
    expect([regs.low('WIDE'), regs.high('WIDE'), regs.WIDE]).toEqual([
      0xffff_ffff,
      0x8000_0000,
      2 ** 63 + 2 ** 32,
    ]);
    expect(read(regs, 8, 8)).toBe('ffffffff00000080');
  });

  test('reset gives all of them their reset values', () => {
    const regs = registers(TABLE);
    regs.COUNT = 9;
    regs.DOORBELL.set(2, 9);
    regs.reset();
    expect([regs.COUNT, regs.DOORBELL.get(2)]).toEqual([5, 0]);
  });

  test('arrays have elements, also when they interleave with another array', () => {
    const calls: number[][] = [];
    const regs = registers({
      TAIL: {
        offset: 0,
        width: 4,
        access: 'wo',
        count: 3,
        stride: 8,
        write: (value, _, element) => calls.push([0, element, value]),
      },
      HEAD: {
        offset: 4,
        width: 4,
        access: 'wo',
        count: 3,
        stride: 8,
        write: (value, _, element) => calls.push([1, element, value]),
      },
    });
    write(regs, 0x10, '05000000');
    write(regs, 0x0c, '06000000');
    expect(calls).toEqual([
      [0, 2, 5],
      [1, 1, 6],
    ]);
    expect([regs.TAIL.get(2), regs.HEAD.get(1), regs.HEAD.length]).toEqual([5, 6, 3]);
    expect(() => regs.TAIL.get(3)).toThrow('TAIL has no element 3');
  });

  test('fields lie anywhere, also across the halves', () => {
    const regs = registers(TABLE);
    regs.set('MODE', 'SPEED', 0xf);
    regs.set('MODE', 'HIGH', 0b1010);
    expect([regs.get('MODE', 'ON'), regs.get('MODE', 'SPEED'), regs.get('MODE', 'HIGH')]).toEqual([
      0, 7, 0b1010,
    ]);
    expect([regs.low('MODE'), regs.high('MODE')]).toEqual([0x8000_0070, 0x2]);
    expect(fieldOf(TABLE.MODE, 'HIGH', regs.MODE)).toBe(0b1010);
    expect(withField(TABLE.MODE, 'SPEED', 0x171, 2)).toBe(0x121);
  });

  test('describe shows names, offsets, values and fields without running handlers', () => {
    const handler = vi.fn(() => 0);
    const regs = registers({
      MODE: {
        offset: 4,
        width: 4,
        access: 'rw',
        reset: 0x31,
        fields: { ON: 0, SPEED: [4, 7] },
        description: 'x',
      },
      ID: { offset: 0, width: 2, access: 'ro', reset: 9, read: handler },
      BELL: { offset: 8, width: 4, access: 'wo', count: 2 },
    });
    expect(regs.describe().map(({ name, offset, value }) => [name, offset, value])).toEqual([
      ['ID', 0, 9n],
      ['MODE', 4, 0x31n],
      ['BELL[0]', 8, 0n],
      ['BELL[1]', 12, 0n],
    ]);
    expect(regs.describe()[1]).toMatchObject({
      fields: { ON: 1, SPEED: 3 },
      access: 'rw',
      description: 'x',
      width: 4,
    });
    expect(handler).not.toHaveBeenCalled();
  });
});

test('a block above the direct lookup limit finds its registers too', () => {
  const regs = registers({
    FIRST: { offset: 0, width: 4, access: 'rw', reset: 1 },
    MIDDLE: { offset: 0x4_0000, width: 2, access: 'rw', reset: 2 },
    LAST: { offset: 0x10_0000, width: 8, access: 'rw', reset: 3 },
  });
  expect(regs.sizeBytes).toBe(0x10_0008);
  expect(read(regs, 0, 4)).toBe('01000000');
  expect(read(regs, 0x3_ffff, 4)).toBe('ff0200ff');
  expect(read(regs, 0x10_0000, 9)).toBe('0300000000000000ff');
});

describe('mistakes in a table throw with the name of the register', () => {
  test.each([
    ['names are upper case', { status: { offset: 0, width: 4, access: 'rw' } }],
    ['offset -4', { A: { offset: -4, width: 4, access: 'rw' } }],
    ['width 3', { A: { offset: 0, width: 3, access: 'rw' } }],
    ["unknown access 'r'", { A: { offset: 0, width: 4, access: 'r' } }],
    ['reset 256 does not fit 1 byte', { A: { offset: 0, width: 1, access: 'rw', reset: 256 } }],
    ['mask -1 does not fit', { A: { offset: 0, width: 4, access: 'rw', mask: -1 } }],
    ['write it as a bigint', { A: { offset: 0, width: 8, access: 'rw', reset: 2 ** 60 } }],
    [
      'A and B overlap at offset 0x2',
      { A: { offset: 0, width: 4, access: 'rw' }, B: { offset: 2, width: 1, access: 'rw' } },
    ],
    ['stride 2 is less', { A: { offset: 0, width: 4, access: 'rw', count: 2, stride: 2 } }],
    ['count 0', { A: { offset: 0, width: 4, access: 'rw', count: 0 } }],
    ['at most 32767 registers', { A: { offset: 0, width: 1, access: 'rw', count: 40_000 } }],
    ['field X does not lie in the register', { A: { offset: 0, width: 1, access: 'rw', fields: { X: 8 } } }],
    ['field Y overlaps', { A: { offset: 0, width: 1, access: 'rw', fields: { X: [0, 3], Y: 3 } } }],
    ["'ro' never calls write", { A: { offset: 0, width: 4, access: 'ro', write: () => {} } }],
    ["'wo' never calls read", { A: { offset: 0, width: 4, access: 'wo', read: () => 0 } }],
  ])('%s', (message, table) => {
    expect(() => registers(table as never)).toThrow(message);
  });

  test('canary: a good table does not throw', () => {
    expect(() => registers({ A: { offset: 0, width: 4, access: 'rw' } })).not.toThrow();
  });
});
