/**
 * What Linux 7.3 answered to the same questions, so that the demo can set it beside our own answers.
 *
 * Recorded, not run: a probe went through these steps on Linux 7.3 in a virtual machine (q35, intel-iommu),
 * with the type1 v2 IOMMU, QEMU's edu as the device that does DMA and ivshmem's BAR2 as the memory. Each fact
 * names its records and quotes what they say; the sentence is our reading of them.
 */

export interface Type1Record {
  /** Name of the record in the probe's output: section, device, phase, question. */
  readonly name: string;
  /** What the kernel answered, as recorded. */
  readonly answer: string;
}

export interface Type1Fact {
  readonly records: readonly Type1Record[];
  readonly says: string;
  /** True where Linux does what our rule asks for. */
  readonly sameAsOurs: boolean;
}

/** The demo's steps that were recorded. */
export type Type1Step =
  | 'consent'
  | 'peer'
  | 'touchOff'
  | 'messageOff'
  | 'dmaOff'
  | 'touchOn'
  | 'dmaOn'
  | 'released';

export const LINUX_TYPE1: Readonly<Record<Type1Step, Type1Fact>> = {
  consent: {
    records: [
      { name: '6.ivshmem.map-BAR-RW', answer: '0' },
      { name: '7.map-own-BAR(edu BAR0)', answer: '0' },
    ],
    says: 'maps whatever BAR it is shown; no driver is asked',
    sameAsOurs: false,
  },
  peer: {
    records: [{ name: '6.ivshmem.edu-dma-read-of-BAR-IOVA', answer: 'dma rc 0/0 data b0b0b0b0' }],
    says: 'peer-to-peer works while all is well',
    sameAsOurs: true,
  },
  touchOff: {
    records: [{ name: '6.ivshmem.i.touch-read', answer: 'SIGBUS code=2' }],
    says: 'SIGBUS too',
    sameAsOurs: true,
  },
  messageOff: {
    records: [{ name: '6.ivshmem.i.pread-bar', answer: '-1 EIO' }],
    says: 'EIO too',
    sameAsOurs: true,
  },
  dmaOff: {
    records: [
      { name: '6.ivshmem.i.edu-dma-read-of-BAR-IOVA', answer: 'dma rc 0/0 data 00000000' },
      { name: '6.ivshmem.i.map-over-IOVA', answer: '-1 EEXIST' },
    ],
    says: 'the mapping stays, the DMA goes out to nobody and reads zeros; no fault, no reason',
    sameAsOurs: false,
  },
  touchOn: {
    records: [{ name: '6.ivshmem.ii.touch-read', answer: 'read 0xb0b0b0b0' }],
    says: 'faults in again too, contents kept',
    sameAsOurs: true,
  },
  dmaOn: {
    records: [{ name: '6.ivshmem.ii.edu-dma-read', answer: 'dma rc 0/0 data c1c1c1c1' }],
    says: 'the mapping that never went away works again',
    sameAsOurs: true,
  },
  released: {
    records: [
      { name: '6.ivshmem.iv.edu-dma-read-after-release', answer: 'dma rc 0/0 data d2d2d2d2' },
      { name: '6.ivshmem.iv.map-over-IOVA', answer: '-1 EEXIST' },
    ],
    says: 'the DMA still reads the memory of the device that was closed',
    sameAsOurs: false,
  },
};
