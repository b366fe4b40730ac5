/**
 * The ram device as it looks from outside: ids, BARs, registers. Shared by the device, the demo and its
 * tests.
 *
 * ram is the smallest device whose memory is worth reaching by DMA: BAR2 is plain memory, nothing computes.
 * It exists to show and to test the life of device memory, so it has every way of losing it: decode, D3hot,
 * FLR, release.
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
/** Region index of the device-specific region: the first behind those that every PCI function has. */
export const RAM_SCRATCH_REGION = 9;

/** Size of BAR0 in bytes: one page, so that a BAR never shares a page with another. */
export const RAM_BAR0_SIZE = 4096;
/** Smallest size of the memory: less than a page could not be mapped. */
export const RAM_MIN_SIZE = 4096;
/** Largest size of the memory: 64 GiB. It is sparse, only what is written costs anything. */
export const RAM_MAX_SIZE: number = 64 * 2 ** 30;
/** Size of the memory unless told otherwise: 16 MiB. */
export const RAM_DEFAULT_SIZE: number = 16 * 2 ** 20;
/** Size of the device-specific region in bytes. */
export const RAM_SCRATCH_SIZE = 0x1_0000;

/** VFIO_REGION_TYPE_PCI_VENDOR_TYPE with our vendor id: the type of region 9. */
export const RAM_SCRATCH_TYPE: number = 0x8000_0000 + RAM_VENDOR_ID;
export const RAM_SCRATCH_SUBTYPE = 1;

/** The letters "RAM" in ASCII, first letter lowest. */
export const RAM_IDENTIFICATION = 0x004d_4152;
/** Bit of CONSENT for the device-specific region; bit n below it is mappable area n of BAR2. */
export const RAM_CONSENT_SCRATCH = 0x8000_0000;

/** Most mappable areas: the bits of CONSENT that are left for them. */
export const RAM_MAX_AREAS = 31;
