/**
 * The ram device as it looks from outside: ids, BARs, registers. Shared by the device, the demo and its tests.
 *
 * ram is the smallest device whose memory is worth reaching by DMA: BAR2 is plain memory, nothing computes. It exists to
 * show and to test the life of device memory, so it has every way of losing it: decode, D3hot, FLR, release.
 */

export const RAM_VENDOR_ID = 0x1234;
export const RAM_DEVICE_ID = 0x7261;
export const RAM_REVISION_ID = 0x01;
/** Base class 0x05 (memory controller), subclass 0x00 (RAM). */
export const RAM_CLASS = 0x0500;

/** Region index of the registers. */
export const RAM_REGISTERS_BAR = 0;
/** Region index of the memory: 64-bit, prefetchable, so it takes the next BAR as well. */
export const RAM_MEMORY_BAR = 2;
/** Region index of the device-specific region, the first one behind the regions that every PCI function has. */
export const RAM_SCRATCH_REGION = 9;

/** Size of BAR0 in bytes: one page, so that a BAR never shares a page with another. */
export const RAM_BAR0_SIZE = 4096;
/** Smallest size of the memory: less than a page could not be mapped. */
export const RAM_MIN_SIZE = 4096;
/** Largest size of the memory: 64 GiB. It is sparse, only what is written costs anything. */
export const RAM_MAX_SIZE = 64 * 2 ** 30;
/** Size of the memory unless told otherwise: 16 MiB. */
export const RAM_DEFAULT_SIZE = 16 * 2 ** 20;
/** Size of the device-specific region in bytes. */
export const RAM_SCRATCH_SIZE = 0x1_0000;

/** VFIO_REGION_TYPE_PCI_VENDOR_TYPE with our vendor id: the type of region 9. */
export const RAM_SCRATCH_TYPE = 0x8000_0000 + RAM_VENDOR_ID;
export const RAM_SCRATCH_SUBTYPE = 1;

// Registers of BAR0, all read only, 4 bytes each.
/** The letters "RAM" in ASCII, first letter lowest. */
export const RAM_REG_ID = 0x00;
export const RAM_IDENTIFICATION = 0x004d_4152;
/** Size of the memory in bytes, low and high half. */
export const RAM_REG_SIZE_LOW = 0x08;
export const RAM_REG_SIZE_HIGH = 0x0c;
/** Number of mappable areas of the memory. */
export const RAM_REG_AREAS = 0x10;
/** Bit n set: mappable area n of the memory is a DMA target. Bit 31: the device-specific region is one. */
export const RAM_REG_CONSENT = 0x14;
export const RAM_CONSENT_SCRATCH = 0x8000_0000;

/** Most mappable areas: the bits of RAM_REG_CONSENT that are left for them. */
export const RAM_MAX_AREAS = 31;
