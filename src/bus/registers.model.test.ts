/*
 * The register engine against a model so simple that it is plainly right: one byte at a time, found by linear search,
 * no widths, no halves, no fast path. Any sequence of accesses must give the same bytes.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RegionHandler } from '../core/index.ts';
import { type RegisterDefinition, type RegisterTable, registers } from './registers.ts';

const WINDOW = 64;

interface ModelByte {
  access: string;
  value: number;
  mask: number;
}

class NaiveModel {
  readonly bytes: (ModelByte | null)[] = new Array(WINDOW).fill(null);

  constructor(table: RegisterTable) {
    for (const { offset, width, access, reset, mask } of Object.values(table)) {
      for (let i = 0; i < width; i++) {
        this.bytes[offset + i] = {
          access,
          value: Number((BigInt(reset ?? 0) >> BigInt(8 * i)) & 0xffn),
          mask: Number((BigInt(mask ?? -1n) >> BigInt(8 * i)) & 0xffn),
        };
      }
    }
  }

  read(offset: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => {
      const byte = this.bytes[offset + i];
      if (!byte) return 0xff;
      if (byte.access === 'wo') return 0;
      const value = byte.value;
      if (byte.access === 'rc') byte.value &= ~byte.mask;
      return value;
    });
  }

  write(offset: number, data: readonly number[]): void {
    data.forEach((value, i) => {
      const byte = this.bytes[offset + i];
      if (!byte) return;
      if (byte.access === 'rw' || byte.access === 'wo') {
        byte.value = (byte.value & ~byte.mask) | (value & byte.mask);
      }
      if (byte.access === 'w1c') byte.value &= ~(value & byte.mask);
    });
  }
}

type Step = { offset: number; write: boolean; data: number[] };

const width = fc.constantFrom(1 as const, 2 as const, 4 as const, 8 as const);
const access = fc.constantFrom('ro' as const, 'rw' as const, 'w1c' as const, 'rc' as const, 'wo' as const);
const bits = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

const table: fc.Arbitrary<RegisterTable> = fc
  .array(fc.record({ gap: fc.nat(5), width, access, reset: bits, mask: bits }), {
    minLength: 1,
    maxLength: 7,
  })
  .map((drafts) => {
    const made: Record<string, RegisterDefinition> = {};
    let offset = 0;
    drafts.forEach((draft, index) => {
      offset += draft.gap;
      if (offset + draft.width > WINDOW) return;
      const all = (1n << BigInt(8 * draft.width)) - 1n;
      made[`R${index}`] = { ...draft, offset, reset: draft.reset & all, mask: draft.mask & all };
      offset += draft.width;
    });
    return made;
  });

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    offset: fc.nat(WINDOW - 17),
    write: fc.boolean(),
    data: fc.array(fc.nat(255), { minLength: 1, maxLength: 17 }),
  }),
  { minLength: 1, maxLength: 30 },
);

function agree(make: (table: RegisterTable) => RegionHandler, drawn: RegisterTable, sequence: Step[]): void {
  const block = make(drawn);
  const model = new NaiveModel(drawn);
  for (const step of sequence) {
    const bytes = Uint8Array.from(step.data);
    if (step.write) {
      block.write(step.offset, bytes.length, new DataView(bytes.buffer), 0);
      model.write(step.offset, step.data);
    } else {
      block.read(step.offset, bytes.length, new DataView(bytes.buffer), 0);
      expect([...bytes]).toEqual(model.read(step.offset, bytes.length));
    }
  }
}

test('any accesses to any table give the bytes of the naive model', () => {
  fc.assert(
    fc.property(table, steps, (drawn, sequence) => {
      agree((made) => registers(made), drawn, sequence);
    }),
    { numRuns: 500 },
  );
});

test('canary: an engine that widens byte writes is caught', () => {
  const broken = (made: RegisterTable): RegionHandler => {
    const block = registers(made);
    return {
      read: (offset, count, view, at) => block.read(offset, count, view, at),
      write: (offset, _count, view, at) => block.write(offset & ~3, 4, padded(view, at), 0),
    };
  };
  const run = () => {
    fc.assert(
      fc.property(table, steps, (drawn, sequence) => {
        agree(broken, drawn, sequence);
      }),
      { numRuns: 500 },
    );
  };
  expect(run).toThrow('Property failed');
});

function padded(view: DataView, at: number): DataView {
  const bytes = new Uint8Array(4);
  bytes.set(new Uint8Array(view.buffer, at).subarray(0, 4));
  return new DataView(bytes.buffer);
}
