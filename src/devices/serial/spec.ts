/**
 * The serial device as it looks from outside: ids, BAR, FIFO size. Shared by the device, its tests and whoever drives it.
 * The bits of its registers are in bits.ts.
 *
 * The identity is that of the ASIX AX99100 as Linux's 8250_pci knows it since 6.6 (and stable kernels since March 2025):
 * one port in BAR0, a 1.8432 MHz clock, and one of the few ids for which that driver asks for MSI.
 */

export const SERIAL_VENDOR_ID = 0x125b;
export const SERIAL_DEVICE_ID = 0x9100;
export const SERIAL_SUBSYSTEM_VENDOR_ID = 0xa000;
/** The function of the AX99100 is a serial port. */
export const SERIAL_SUBSYSTEM_ID = 0x1000;
/** Base class 0x07 (communication), subclass 0x00 (serial), programming interface 0x02 (16550). */
export const SERIAL_CLASS = 0x07_0002;

/** Region index of the registers. */
export const SERIAL_BAR = 0;
/** Size of BAR0 in bytes: one page, so that no other BAR shares it. */
export const SERIAL_BAR_SIZE = 4096;

/** Bytes of each FIFO. */
export const SERIAL_FIFO_SIZE = 16;
