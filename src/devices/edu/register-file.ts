/**
 * The rules of access to edu's registers, which their table cannot say: below 0x80 only 4 bytes, from there
 * on 4 or 8, always at a register's own address. Everything else reads as ones and writes nothing. A 4-byte
 * write to an 8-byte register sets the whole register, its upper half to zero.
 */
import { type RegisterOptions, type Registers, registers } from '../../bus/registers.ts';
import type { RegionHandler } from '../../core/index.ts';
import { EDU_REGISTERS, EDU_WIDE_REGISTERS } from './registers.ts';

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
    if (offset === EDU_REGISTERS.DMA_CMD.offset && (this.#wide.getUint8(0) & 1) === 0) return 0;
    return this.regs.write(offset, 8, this.#wide, 0);
  }
}

function isRegisterAccess(offset: number, count: number): boolean {
  if (offset < EDU_WIDE_REGISTERS) return count === 4 && offset % 4 === 0;
  return (count === 4 || count === 8) && offset % 8 === 0;
}
