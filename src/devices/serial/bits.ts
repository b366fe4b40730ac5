/**
 * The bits of a 16550A's registers, with the names of their data sheet: National Semiconductor PC16550D (1995), section
 * 8.0.
 */

/** IER: received data, and the character timeout in FIFO mode. */
export const IER_ERBFI = 0x01;
/** IER: transmitter holding register empty. */
export const IER_ETBEI = 0x02;
/** IER: receiver line status. */
export const IER_ELSI = 0x04;
/** IER: modem status. */
export const IER_EDSSI = 0x08;

/** IIR: no interrupt is pending. */
export const IIR_NONE = 0x01;
export const IIR_LINE_STATUS = 0x06;
export const IIR_RECEIVED_DATA = 0x04;
export const IIR_CHARACTER_TIMEOUT = 0x0c;
export const IIR_THR_EMPTY = 0x02;
export const IIR_MODEM_STATUS = 0x00;
/** IIR: both bits are set while the FIFOs are on. */
export const IIR_FIFOS_ENABLED = 0xc0;

export const FCR_FIFO_ENABLE = 0x01;
export const FCR_RCVR_RESET = 0x02;
export const FCR_XMIT_RESET = 0x04;
/** FCR bits 7:6 as a number: how many bytes make a received data interrupt. */
export const FCR_TRIGGER_BYTES: readonly number[] = [1, 4, 8, 14];

/** LCR: divisor latch access bit. */
export const LCR_DLAB = 0x80;
/** LCR: 5 bits a word, and one more for each step. */
export const LCR_WLS = 0x03;

export const MCR_DTR = 0x01;
export const MCR_RTS = 0x02;
export const MCR_OUT1 = 0x04;
export const MCR_OUT2 = 0x08;
export const MCR_LOOP = 0x10;

export const LSR_DR = 0x01;
export const LSR_OE = 0x02;
export const LSR_THRE = 0x20;
export const LSR_TEMT = 0x40;

export const MSR_DCTS = 0x01;
export const MSR_DDSR = 0x02;
export const MSR_TERI = 0x04;
export const MSR_DDCD = 0x08;
export const MSR_CTS = 0x10;
export const MSR_DSR = 0x20;
export const MSR_RI = 0x40;
export const MSR_DCD = 0x80;
