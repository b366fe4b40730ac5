/**
 * ram's register table: what the device says about itself. Nothing here can be written.
 */
import {
  RAM_IDENTIFICATION,
  RAM_REG_AREAS,
  RAM_REG_CONSENT,
  RAM_REG_ID,
  RAM_REG_SIZE_HIGH,
  RAM_REG_SIZE_LOW,
} from './spec.ts';

export const RAM_REGISTERS = {
  ID: { offset: RAM_REG_ID, width: 4, access: 'ro', reset: RAM_IDENTIFICATION },
  SIZE_LOW: { offset: RAM_REG_SIZE_LOW, width: 4, access: 'ro', description: 'bytes of BAR2, bits 0 to 31' },
  SIZE_HIGH: { offset: RAM_REG_SIZE_HIGH, width: 4, access: 'ro', description: 'bits 32 to 63' },
  AREAS: { offset: RAM_REG_AREAS, width: 4, access: 'ro', description: 'mappable areas of BAR2' },
  CONSENT: {
    offset: RAM_REG_CONSENT,
    width: 4,
    access: 'ro',
    description: 'bit n: area n is a DMA target; bit 31: region 9 is',
  },
} as const;
