/**
 * The registers of serial's BAR0, as data. They have the names of what is read; what else lies at the same offset is in
 * the description. What they do is in uart.ts.
 */

export const SERIAL_REGISTERS = {
  RBR: { offset: 0, width: 1, access: 'custom', description: 'written: THR; with DLAB: DLL' },
  IER: {
    offset: 1,
    width: 1,
    access: 'custom',
    fields: { ERBFI: 0, ETBEI: 1, ELSI: 2, EDSSI: 3 },
    description: 'with DLAB: DLM',
  },
  IIR: { offset: 2, width: 1, access: 'custom', reset: 0x01, description: 'written: FCR' },
  LCR: { offset: 3, width: 1, access: 'rw', fields: { WLS: [0, 1], DLAB: 7 } },
  MCR: {
    offset: 4,
    width: 1,
    access: 'rw',
    mask: 0x1f,
    fields: { DTR: 0, RTS: 1, OUT1: 2, OUT2: 3, LOOP: 4 },
  },
  LSR: { offset: 5, width: 1, access: 'custom', reset: 0x60 },
  MSR: { offset: 6, width: 1, access: 'custom' },
  SCR: { offset: 7, width: 1, access: 'rw' },
} as const;
