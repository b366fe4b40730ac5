/**
 * edu's register table, and the rules of access that a table cannot say.
 *
 * A register file that QEMU's edu documents with two access sizes: below 0x80 only 4 bytes, from there on 4 or 8, always
 * at a register's own address. Everything else reads as ones and writes nothing. A 4-byte write to an 8-byte register
 * sets the whole register, its upper half to zero.
 */
import { type RegisterOptions, type Registers, registers } from '../../bus/registers.ts';
import type { RegionHandler } from '../../core/index.ts';
import {
  EDU_IDENTIFICATION,
  EDU_REG_DMA_CMD,
  EDU_REG_DMA_COUNT,
  EDU_REG_DMA_DST,
  EDU_REG_DMA_SRC,
  EDU_REG_FACTORIAL,
  EDU_REG_ID,
  EDU_REG_IRQ_ACK,
  EDU_REG_IRQ_RAISE,
  EDU_REG_IRQ_STATUS,
  EDU_REG_LIVENESS,
  EDU_REG_STATUS,
  EDU_WIDE_REGISTERS,
} from './spec.ts';

/** The registers as data; device.ts adds what they do. */
export const EDU_REGISTERS = {
  ID: { offset: EDU_REG_ID, width: 4, access: 'ro', reset: EDU_IDENTIFICATION },
  LIVENESS: {
    offset: EDU_REG_LIVENESS,
    width: 4,
    access: 'rw',
    description: 'reads as the inverse of what was written',
  },
  FACTORIAL: {
    offset: EDU_REG_FACTORIAL,
    width: 4,
    access: 'custom',
    description: 'n in, n! modulo 2^32 out once STATUS.COMPUTING is clear',
  },
  STATUS: {
    offset: EDU_REG_STATUS,
    width: 4,
    access: 'rw',
    mask: 0x80,
    fields: { COMPUTING: 0, IRQ_FACTORIAL: 7 },
  },
  IRQ_STATUS: { offset: EDU_REG_IRQ_STATUS, width: 4, access: 'ro', fields: { FACTORIAL: 0, DMA: 8 } },
  IRQ_RAISE: { offset: EDU_REG_IRQ_RAISE, width: 4, access: 'custom', reset: 0xffff_ffff },
  IRQ_ACK: { offset: EDU_REG_IRQ_ACK, width: 4, access: 'custom', reset: 0xffff_ffff },
  DMA_SRC: { offset: EDU_REG_DMA_SRC, width: 8, access: 'rw' },
  DMA_DST: { offset: EDU_REG_DMA_DST, width: 8, access: 'rw' },
  DMA_COUNT: { offset: EDU_REG_DMA_COUNT, width: 8, access: 'rw' },
  DMA_CMD: {
    offset: EDU_REG_DMA_CMD,
    width: 8,
    access: 'rw',
    fields: { RUN: 0, TO_MEMORY: 1, IRQ: 2 },
  },
} as const;

export type EduTable = typeof EDU_REGISTERS;

/** BAR0 of edu: the table behind the access rules at the top of this file. */
export class EduRegisterFile implements RegionHandler {
  readonly regs: Registers<EduTable>;
  /** A 4-byte value on its way into an 8-byte register. */
  readonly #wide: DataView = new DataView(new ArrayBuffer(8));
  readonly #dmaLocked: () => boolean;

  /** @param dmaLocked whether a transfer is under way: the DMA registers keep their values as long */
  constructor(handlers: NonNullable<RegisterOptions<EduTable>['handlers']>, dmaLocked: () => boolean) {
    this.regs = registers(EDU_REGISTERS, { handlers });
    this.#dmaLocked = dmaLocked;
  }

  read(offset: number, count: number, view: DataView, at: number): number {
    if (isRegisterAccess(offset, count)) return this.regs.read(offset, count, view, at);
    for (let i = at; i < at + count; i++) view.setUint8(i, 0xff);
    return 0;
  }

  write(offset: number, count: number, view: DataView, at: number): number {
    if (!isRegisterAccess(offset, count)) return 0;
    if (offset < EDU_WIDE_REGISTERS) return this.regs.write(offset, count, view, at);
    if (this.#dmaLocked()) return 0;
    this.#wide.setUint32(0, view.getUint32(at, true), true);
    this.#wide.setUint32(4, count === 8 ? view.getUint32(at + 4, true) : 0, true);
    // A command that does not start a transfer changes nothing, not even the other bits of the register.
    if (offset === EDU_REG_DMA_CMD && (this.#wide.getUint8(0) & 1) === 0) return 0;
    return this.regs.write(offset, 8, this.#wide, 0);
  }
}

function isRegisterAccess(offset: number, count: number): boolean {
  if (offset < EDU_WIDE_REGISTERS) return count === 4 && offset % 4 === 0;
  return (count === 4 || count === 8) && offset % 8 === 0;
}
