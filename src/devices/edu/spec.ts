/**
 * The edu device as its specification gives it: ids, bits, sizes. Shared by the device and its driver;
 * registers.ts is, too.
 *
 * Source of the numbers: QEMU's documentation, https://www.qemu.org/docs/master/specs/edu.html. Nothing here
 * decides anything; behaviour is in device.ts.
 */

export const EDU_VENDOR_ID = 0x1234;
export const EDU_DEVICE_ID = 0x11e8;
/** Revision ID that QEMU's edu shows in config space. */
export const EDU_REVISION_ID = 0x10;
/** Base class 0x00 (no class), subclass 0xff. */
export const EDU_CLASS = 0x00ff;

/** Size of BAR0 in bytes. */
export const EDU_BAR0_SIZE = 0x10_0000;

/** Value of the identification register: major version, minor version, and 0xed as in edu. */
export const EDU_IDENTIFICATION = 0x0100_00ed;

/** STATUS: a factorial is being computed (read only). */
export const EDU_STATUS_COMPUTING = 0x01;
/** STATUS: raise EDU_IRQ_FACTORIAL when a factorial is done. */
export const EDU_STATUS_IRQ_FACTORIAL = 0x80;

/** DMA_CMD: start a transfer; reads as 1 until it is over. */
export const EDU_DMA_RUN = 0x1;
/** DMA_CMD: direction. Clear: memory to the buffer. Set: the buffer to memory. */
export const EDU_DMA_TO_MEMORY = 0x2;
/** DMA_CMD: raise EDU_IRQ_DMA when the transfer is over. */
export const EDU_DMA_IRQ = 0x4;

/** Bits that the device itself sets in IRQ_STATUS. */
export const EDU_IRQ_FACTORIAL = 0x001;
export const EDU_IRQ_DMA = 0x100;

/** Address of the transfer buffer, as the DMA registers name it. The buffer cannot be read through BAR0. */
export const EDU_DMA_BUFFER = 0x4_0000;
/** Size of the transfer buffer in bytes. */
export const EDU_DMA_BUFFER_SIZE = 4096;

/** Address bits that the DMA engine drives unless told otherwise: 256 MiB. */
export const EDU_DMA_MASK_BITS = 28;
