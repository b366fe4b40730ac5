/**
 * The registers of edu's BAR0, as data: the device serves them, the driver takes its offsets from here. What
 * they do is in device.ts.
 */

/** From this offset on registers take accesses of 4 and of 8 bytes, below it of 4 only. */
export const EDU_WIDE_REGISTERS = 0x80;

export const EDU_REGISTERS = {
  ID: { offset: 0x00, width: 4, access: 'ro', reset: 0x0100_00ed },
  LIVENESS: { offset: 0x04, width: 4, access: 'rw', description: 'reads as the inverse of what was written' },
  FACTORIAL: {
    offset: 0x08,
    width: 4,
    access: 'custom',
    description: 'n in, n! modulo 2^32 out once STATUS.COMPUTING is clear',
  },
  STATUS: {
    offset: 0x20,
    width: 4,
    access: 'rw',
    mask: 0x80,
    fields: { COMPUTING: 0, IRQ_FACTORIAL: 7 },
  },
  IRQ_STATUS: { offset: 0x24, width: 4, access: 'ro', fields: { FACTORIAL: 0, DMA: 8 } },
  IRQ_RAISE: { offset: 0x60, width: 4, access: 'custom', reset: 0xffff_ffff },
  IRQ_ACK: { offset: 0x64, width: 4, access: 'custom', reset: 0xffff_ffff },
  DMA_SRC: { offset: 0x80, width: 8, access: 'rw' },
  DMA_DST: { offset: 0x88, width: 8, access: 'rw' },
  DMA_COUNT: { offset: 0x90, width: 8, access: 'rw', description: 'bytes' },
  DMA_CMD: { offset: 0x98, width: 8, access: 'rw', fields: { RUN: 0, TO_MEMORY: 1, IRQ: 2 } },
} as const;
