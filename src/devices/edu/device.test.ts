import { beforeEach, describe, expect, it } from 'vitest';
import { PCI_COMMAND, PCI_COMMAND_MASTER, PCI_COMMAND_MEMORY, PCI_STATUS } from '../../abi/index.ts';
import { type DmaFault, type DmaPort, RecordingTrigger } from '../../core/index.ts';
import { Edu, type EduFault } from './device.ts';
import { EDU_REGISTERS } from './registers.ts';
import * as spec from './spec.ts';

/** Memory at bus addresses 0 and up; everything beyond it is a fault. */
class FlatMemory implements DmaPort {
  readonly attached = true;
  readonly bytes = new Uint8Array(0x4000);
  /** Set: transfers take until `settle` is called. */
  slow = false;
  settle: () => void = () => {};

  read(
    iova: number,
    target: Uint8Array,
    at = 0,
    length = target.length - at,
  ): DmaFault | null | Promise<DmaFault | null> {
    const copy = (): DmaFault | null => {
      if (iova + length > this.bytes.length) return { iova, reason: 'not mapped', errno: 14 };
      target.set(this.bytes.subarray(iova, iova + length), at);
      return null;
    };
    if (!this.slow) return copy();
    return new Promise((resolve) => {
      this.settle = () => resolve(copy());
    });
  }

  write(iova: number, source: Uint8Array, at = 0, length = source.length - at): DmaFault | null {
    if (iova + length > this.bytes.length) return { iova, reason: 'not mapped', errno: 14 };
    this.bytes.set(source.subarray(at, at + length), iova);
    return null;
  }

  check(iova: number, size: number): DmaFault | null {
    return iova + size > this.bytes.length ? { iova, reason: 'not mapped', errno: 14 } : null;
  }

  window(iova: number): DmaFault {
    return { iova, reason: 'not mapped', errno: 14 };
  }
}

describe('Edu', () => {
  const scratch = new DataView(new ArrayBuffer(16));
  let work: (() => void)[];
  let edu: Edu;
  let memory: FlatMemory;
  let faults: EduFault[];

  /** Runs what the device put off, and what promises of it follow. */
  async function runScheduled(): Promise<void> {
    while (work.length > 0) work.shift()!();
    await Promise.resolve();
    await Promise.resolve();
  }

  function read(offset: number, count = 4): number {
    scratch.setBigUint64(0, 0n, true);
    expect(edu.region(0).read(offset, count, scratch, 0)).toBe(0);
    return Number(scratch.getBigUint64(0, true));
  }

  function write(offset: number, value: number, count = 4): void {
    scratch.setBigUint64(0, BigInt(value), true);
    expect(edu.region(0).write(offset, count, scratch, 0)).toBe(0);
  }

  function dma(source: number, target: number, count: number, command: number): void {
    write(EDU_REGISTERS.DMA_SRC.offset, source, 8);
    write(EDU_REGISTERS.DMA_DST.offset, target, 8);
    write(EDU_REGISTERS.DMA_COUNT.offset, count, 8);
    write(EDU_REGISTERS.DMA_CMD.offset, command, 4);
  }

  beforeEach(() => {
    work = [];
    edu = new Edu({ schedule: (later) => work.push(later) });
    memory = new FlatMemory();
    edu.dma = memory;
    edu.opened();
    const command = new DataView(new ArrayBuffer(2));
    command.setUint16(0, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, true);
    edu.region(7).write(PCI_COMMAND, 2, command, 0);
    faults = [];
    edu.on('fault', (fault) => faults.push(fault));
  });

  it('is the function that its specification describes', () => {
    const view = new DataView(new ArrayBuffer(64));
    edu.region(7).read(0, 64, view, 0);
    expect(view.getUint32(0, true)).toBe(0x11e8_1234);
    expect(view.getUint8(8)).toBe(0x10);
    expect(view.getUint16(10, true)).toBe(0x00ff);
    expect(view.getUint8(0x3d)).toBe(1);
    expect(edu.region(0).sizeBytes).toBe(1 << 20);
    expect(edu.region(0).mappable).toBe(false);
    expect(edu.irqs.map((irq) => irq.count).slice(0, 3)).toEqual([1, 1, 0]);
  });

  describe('registers', () => {
    it('identifies itself', () => {
      expect(read(0x00)).toBe(0x010000ed);
      write(0x00, 0);
      expect(read(0x00)).toBe(0x010000ed);
    });

    it('inverts the liveness register', () => {
      write(0x04, 0x0f0f_00ff);
      expect(read(0x04)).toBe(0xf0f0_ff00);
    });

    it.each([
      [0x00, 1],
      [0x00, 2],
      [0x00, 8],
      [0x02, 4],
      [0x80, 1],
      [0x80, 2],
      [0x84, 4],
      [0x84, 8],
      [0x0c, 4],
      [0x100, 4],
      [0x40000, 4],
    ])('reads as ones and writes nothing at 0x%s with %i bytes', (offset, count) => {
      write(EDU_REGISTERS.DMA_SRC.offset, 0x1122_3344, 8);
      write(offset, 0, count);
      expect(read(offset, count)).toBe(Number((1n << BigInt(8 * count)) - 1n));
      expect(read(EDU_REGISTERS.DMA_SRC.offset, 8)).toBe(0x1122_3344);
    });

    it('reads as ones where it can only be written', () => {
      expect(read(EDU_REGISTERS.IRQ_RAISE.offset)).toBe(0xffff_ffff);
      expect(read(EDU_REGISTERS.IRQ_ACK.offset)).toBe(0xffff_ffff);
    });

    it('takes DMA addresses in 4 and in 8 bytes; 4 bytes clear the upper half', () => {
      write(EDU_REGISTERS.DMA_DST.offset, 0x12_3456_789a, 8);
      expect(read(EDU_REGISTERS.DMA_DST.offset, 8)).toBe(0x12_3456_789a);
      expect(read(EDU_REGISTERS.DMA_DST.offset, 4)).toBe(0x3456_789a);
      write(EDU_REGISTERS.DMA_DST.offset, 0x55, 4);
      expect(read(EDU_REGISTERS.DMA_DST.offset, 8)).toBe(0x55);
    });

    it('keeps what is read only in the status registers', () => {
      write(EDU_REGISTERS.STATUS.offset, 0xffff_ffff);
      expect(read(EDU_REGISTERS.STATUS.offset)).toBe(0x80);
      write(EDU_REGISTERS.IRQ_STATUS.offset, 0xffff_ffff);
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0);
    });
  });

  describe('factorial', () => {
    it('computes after the write was answered', async () => {
      write(EDU_REGISTERS.FACTORIAL.offset, 10);
      expect(read(EDU_REGISTERS.STATUS.offset)).toBe(0x01);
      expect(read(EDU_REGISTERS.FACTORIAL.offset)).toBe(10);
      await runScheduled();
      expect(read(EDU_REGISTERS.STATUS.offset)).toBe(0);
      expect(read(EDU_REGISTERS.FACTORIAL.offset)).toBe(3_628_800);
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0);
    });

    it('takes one number at a time', async () => {
      write(EDU_REGISTERS.FACTORIAL.offset, 5);
      write(EDU_REGISTERS.FACTORIAL.offset, 7);
      await runScheduled();
      expect(read(EDU_REGISTERS.FACTORIAL.offset)).toBe(120);
    });

    it('interrupts where it was asked to', async () => {
      write(EDU_REGISTERS.STATUS.offset, 0x80);
      write(EDU_REGISTERS.FACTORIAL.offset, 3);
      await runScheduled();
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0x01);
    });
  });

  describe('interrupts', () => {
    it('asserts INTx until everything is acknowledged', () => {
      const line = new RecordingTrigger();
      edu.irqs[0]!.wire(0, [line]);
      write(EDU_REGISTERS.IRQ_RAISE.offset, 0x3);
      expect(line.signals).toBe(1);
      expect(edu.config.get16(PCI_STATUS) & 0x8).toBe(0x8);
      write(EDU_REGISTERS.IRQ_ACK.offset, 0x1);
      edu.irqs[0]!.unmask(0, 1);
      expect(line.signals).toBe(2);
      write(EDU_REGISTERS.IRQ_ACK.offset, 0x2);
      edu.irqs[0]!.unmask(0, 1);
      expect(line.signals).toBe(2);
      expect(edu.config.get16(PCI_STATUS) & 0x8).toBe(0);
    });

    it('sends a message each time, where MSI is wired', () => {
      const message = new RecordingTrigger();
      edu.irqs[1]!.wire(0, [message]);
      write(EDU_REGISTERS.IRQ_RAISE.offset, 0x1);
      write(EDU_REGISTERS.IRQ_RAISE.offset, 0x2);
      expect(message.signals).toBe(2);
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0x3);
    });

    it('does not interrupt for nothing', () => {
      const line = new RecordingTrigger();
      edu.irqs[0]!.wire(0, [line]);
      write(EDU_REGISTERS.IRQ_RAISE.offset, 0);
      expect(line.signals).toBe(0);
    });
  });

  describe('DMA', () => {
    const RUN = spec.EDU_DMA_RUN;
    const TO_MEMORY = spec.EDU_DMA_RUN | spec.EDU_DMA_TO_MEMORY;

    it('moves memory into the buffer and back', async () => {
      memory.bytes.set([1, 2, 3, 4, 5], 0x1000);
      dma(0x1000, 0x4_0010, 5, RUN);
      expect(read(EDU_REGISTERS.DMA_CMD.offset)).toBe(RUN);
      await runScheduled();
      expect(read(EDU_REGISTERS.DMA_CMD.offset)).toBe(0);
      dma(0x4_0011, 0x2000, 4, TO_MEMORY);
      await runScheduled();
      expect([...memory.bytes.subarray(0x2000, 0x2005)]).toEqual([2, 3, 4, 5, 0]);
      expect(faults).toEqual([]);
    });

    it('holds its registers while a transfer is under way', async () => {
      memory.slow = true;
      dma(0x1000, 0x4_0000, 16, RUN | spec.EDU_DMA_IRQ);
      await runScheduled();
      write(EDU_REGISTERS.DMA_COUNT.offset, 99, 8);
      write(EDU_REGISTERS.DMA_CMD.offset, TO_MEMORY);
      expect(read(EDU_REGISTERS.DMA_COUNT.offset, 8)).toBe(16);
      expect(read(EDU_REGISTERS.DMA_CMD.offset)).toBe(RUN | spec.EDU_DMA_IRQ);
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0);
      memory.settle();
      await runScheduled();
      expect(read(EDU_REGISTERS.DMA_CMD.offset)).toBe(spec.EDU_DMA_IRQ);
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0x100);
    });

    it('ignores a command that starts nothing', async () => {
      write(EDU_REGISTERS.DMA_CMD.offset, spec.EDU_DMA_TO_MEMORY);
      expect(read(EDU_REGISTERS.DMA_CMD.offset)).toBe(0);
    });

    it('drives 28 address bits unless told otherwise', async () => {
      memory.bytes.set([7], 0x1000);
      dma(2 ** 28 + 0x1000, 0x4_0000, 1, RUN);
      await runScheduled();
      dma(0x4_0000, 0x3000, 1, TO_MEMORY);
      await runScheduled();
      expect(memory.bytes[0x3000]).toBe(7);
    });

    it('drives as many address bits as the option says', async () => {
      edu = new Edu({ dmaMaskBits: 40, schedule: (later) => work.push(later) });
      edu.dma = memory;
      const command = new DataView(new ArrayBuffer(2));
      command.setUint16(0, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, true);
      edu.region(7).write(PCI_COMMAND, 2, command, 0);
      edu.on('fault', (fault) => faults.push(fault));
      dma(2 ** 41 + 2 ** 39, 0x4_0000, 1, RUN);
      await runScheduled();
      expect(faults[0]?.iova).toBe(2 ** 39);
    });

    it.each([11, 65, 28.5])('refuses a mask of %d bits', (dmaMaskBits) => {
      expect(() => new Edu({ dmaMaskBits })).toThrow(RangeError);
    });

    it('ends a transfer that reaches nothing like any other, and says why on its own side', async () => {
      memory.bytes.fill(0xaa, 0, 16);
      dma(0, 0x4_0000, 16, RUN);
      await runScheduled();
      dma(0x10_0000, 0x4_0000, 8, RUN | spec.EDU_DMA_IRQ);
      await runScheduled();
      expect(read(EDU_REGISTERS.DMA_CMD.offset) & RUN).toBe(0);
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0x100);
      expect(faults).toEqual([{ iova: 0x10_0000, sizeBytes: 8, direction: 'to edu', reason: 'not mapped' }]);
      expect(edu.lastFault).toEqual(faults[0]);
      dma(0x4_0000, 0x1000, 16, TO_MEMORY);
      await runScheduled();
      const expected = [...new Array(8).fill(0), ...new Array(8).fill(0xaa)];
      expect([...memory.bytes.subarray(0x1000, 0x1010)]).toEqual(expected);
    });

    it('names bus mastering when that is what is missing', async () => {
      const command = new DataView(new ArrayBuffer(2));
      command.setUint16(0, PCI_COMMAND_MEMORY, true);
      edu.region(7).write(PCI_COMMAND, 2, command, 0);
      dma(0x4_0000, 0, 4, TO_MEMORY);
      await runScheduled();
      expect(faults.map((fault) => fault.reason)).toEqual(['bus master is off']);
    });

    it.each([
      [0x4_0000, 4097],
      [0x4_0fff, 2],
      [0x3_ffff, 2],
      [0, 1],
      [0x4_0000, 2 ** 40],
    ])('moves nothing when 0x%i + %i is not in the buffer', async (target, count) => {
      memory.bytes.fill(0x55);
      dma(0, target, count, RUN | spec.EDU_DMA_IRQ);
      await runScheduled();
      expect(faults.map((fault) => fault.reason)).toEqual(['outside the buffer']);
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0x100);
    });
  });

  describe('reset', () => {
    it('brings every register back and stops what was under way', async () => {
      write(EDU_REGISTERS.STATUS.offset, 0x80);
      write(EDU_REGISTERS.FACTORIAL.offset, 12);
      dma(0, 0x4_0000, 16, spec.EDU_DMA_RUN | spec.EDU_DMA_IRQ);
      await edu.reset();
      await runScheduled();
      expect(read(EDU_REGISTERS.STATUS.offset)).toBe(0);
      expect(read(EDU_REGISTERS.FACTORIAL.offset)).toBe(0);
      expect(read(EDU_REGISTERS.DMA_CMD.offset)).toBe(0);
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0);
    });

    it('forgets a transfer whose memory answers later', async () => {
      memory.slow = true;
      dma(0, 0x4_0000, 16, spec.EDU_DMA_RUN | spec.EDU_DMA_IRQ);
      await runScheduled();
      await edu.reset();
      memory.settle();
      await runScheduled();
      expect(read(EDU_REGISTERS.IRQ_STATUS.offset)).toBe(0);
    });
  });

  it('works without a scheduler of its own: after the code that runs now', async () => {
    const plain = new Edu();
    scratch.setUint32(0, 6, true);
    plain.opened();
    plain.region(0).write(EDU_REGISTERS.FACTORIAL.offset, 4, scratch, 0);
    expect(plain.regs.FACTORIAL).toBe(6);
    await Promise.resolve();
    expect(plain.regs.FACTORIAL).toBe(720);
  });

  it('goes on telling what every device tells', () => {
    const told: string[] = [];
    edu.on('suspend', ({ reason }) => told.push(reason));
    edu.suspend('device is stopped');
    expect(told).toEqual(['device is stopped']);
  });
});
