/**
 * The registers of ram's BAR0, as data: what the device says about itself. Nothing can be written.
 */

export const RAM_REGISTERS = {
  ID: { offset: 0x00, width: 4, access: 'ro', reset: 0x004d_4152 },
  SIZE_LOW: { offset: 0x08, width: 4, access: 'ro', description: 'bytes of BAR2, bits 0 to 31' },
  SIZE_HIGH: { offset: 0x0c, width: 4, access: 'ro', description: 'bits 32 to 63' },
  AREAS: { offset: 0x10, width: 4, access: 'ro', description: 'mappable areas of BAR2' },
  CONSENT: {
    offset: 0x14,
    width: 4,
    access: 'ro',
    description: 'bit n: area n is a DMA target; bit 31: region 9 is',
  },
} as const;
