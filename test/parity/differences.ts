/*
 * Where we answer otherwise than Linux 7.3, on purpose: the one list. docs/linux-differences.md is made from it, and the
 * test of parity holds both sides to it: a record that is listed must differ, and exactly so.
 */

import { WITH_FILES, WITH_OUR_RULES, WITH_SOCKETS } from './world.ts';

/** Records that differ. */
export interface DifferentRecords {
  /** An id, or a pattern of ids with the same answer. */
  readonly id: string | RegExp;
  /** What we answer, as it is compared (scope.ts cuts some of it). */
  readonly ours: string;
  /** Worlds in which it differs; every world that answers, unless said. */
  readonly worlds?: readonly string[];
}

/** One matter in which Linux and we differ. Texts are for the page: phrases, no dots. */
export interface Difference {
  readonly matter: string;
  readonly linux: string;
  readonly ours: string;
  readonly why: string;
  /** The rule that asks for it, or '-'. */
  readonly rule: string;
  /** None: no record shows it. */
  readonly records: readonly DifferentRecords[];
}

const ABSENT_REGION = 'rc=0 flags=0x0 size=0x0 offset=0x80000000000';

/** The record of an mmap of ivshmem's BAR2 by our server's fd. */
function mapped(length: string, protection: number, flags: number, write: string): string {
  const asked = `off=0x20000000000,len=${length},prot=${protection},flags=${flags}`;
  return `0000:00:05.0 mmap(${asked}) = ok; first: read 0x5a5a5a5a; last: read 0x00000000; write: ${write}`;
}

/** Of IOMMU mappings of device memory. */
const REACH: readonly Difference[] = [
  {
    matter: 'device memory after release',
    linux: 'the entry goes on reaching it',
    ours: 'every DMA faults, for good',
    why: 'a stale entry is a use after free',
    rule: 'R6',
    records: [
      {
        id: /^6\.ivshmem\.iv\.edu-dma-read-after-(release|unset)$/,
        ours: 'dma rc 0/0 data 00000000',
        worlds: WITH_OUR_RULES,
      },
    ],
  },
  {
    matter: 'what a stale entry reads of pci-testdev',
    linux: 'zeros: the device drops what is written',
    ours: 'the simulated Linux reads what was written',
    why: 'the model has no device that drops what is written',
    rule: '-',
    records: [
      {
        id: /^6\.pcitestdev\.iv\.edu-dma-read-after-(release|unset)$/,
        ours: 'dma rc 0/0 data d2d2d2d2',
        worlds: ['simulated Linux'],
      },
    ],
  },
  {
    matter: 'what releases a device',
    linux: 'the last file descriptor and the last mapping are gone',
    ours: 'its host calls `release`; a session that ends leaves the device, its memory and mappings of it as they are',
    why: 'a server keeps its device for the next client',
    rule: 'R6',
    records: [],
  },
  {
    matter: 'device memory while decode is off, in D3hot or in reset',
    linux: 'the DMA goes out and reads zeros, or what now has the address',
    ours: 'a fault with the reason; works again after resume. To a device that reads it looks the same: zeros',
    why: 'nobody reaches memory that cannot be accessed',
    rule: 'R4, R7',
    records: [],
  },
  {
    matter: 'consent',
    linux: 'any BAR that is mapped is a DMA target, no driver is asked',
    ours: 'EINVAL where the driver did not opt in; withdrawn later: the entry faults',
    why: 'the driver knows what is memory',
    rule: 'R3',
    records: [],
  },
  {
    matter: 'a DMA in flight at unmap',
    linux: 'the hardware is done when the ioctl returns',
    ours: 'the mapping is dying: it faults, keeps its IOVA (EEXIST) and its entry until idle; DMA_UNMAP answers then',
    why: 'software DMA takes time, and its memory must not be reused under it',
    rule: 'R6',
    records: [],
  },
  {
    matter: 'a DMA that fails',
    linux: 'the device is not told, or by a bus error',
    ours: '`DmaFault`: address, reason, errno',
    why: 'a device author must see it',
    rule: 'R4',
    records: [],
  },
];

/** Of MAP_DMA and UNMAP_DMA. */
const MAPPING: readonly Difference[] = [
  {
    matter: 'IOVA from 2^53 on',
    linux: "up to the IOMMU's width",
    ours: 'map: EOVERFLOW; unmap: nothing is there',
    why: 'numbers are exact below',
    rule: 'R9',
    records: [],
  },
  {
    matter: 'IOVA ranges',
    linux: "the IOMMU's, without the MSI window",
    ours: 'everything below 2^53; `iovaRanges` and `msiHole` narrow it',
    why: 'no hardware sets a limit',
    rule: 'R9',
    records: [],
  },
  {
    matter: 'a vfio-user fd that cannot serve the range',
    linux: 'no such thing; EFAULT for what cannot be pinned, EOVERFLOW for an address that wraps',
    ours: 'EACCES: its mode or seals forbid it; EINVAL: it ends before the range; ENODEV: no mmap. Judged before overlap and limit',
    why: 'the cause is the fd, not the address',
    rule: 'R9',
    records: [
      { id: '3.map-vaddr-wrap', ours: '-1 EINVAL', worlds: WITH_FILES },
      { id: '3.map-vaddr-unmapped', ours: '-1 EINVAL', worlds: WITH_FILES },
      { id: '3.map-hole-in-vma', ours: '-1 EINVAL', worlds: WITH_FILES },
      { id: '3.map-ro-memory-with-WRITE', ours: '-1 EACCES', worlds: WITH_FILES },
      { id: '7.map-ro-BAR-vma-RW', ours: '-1 EACCES', worlds: WITH_FILES },
    ],
  },
  {
    matter: 'memory that its owner truncates',
    linux: 'pinned, stays',
    ours: 'the DMA faults: memory was lost',
    why: "nothing is pinned; a server must not keep a client's pages",
    rule: 'R10',
    records: [],
  },
  {
    matter: 'VADDR flags',
    linux: 'change the process behind a mapping',
    ours: 'EINVAL',
    why: "a client's addresses mean nothing to a server",
    rule: 'R9',
    records: [{ id: /^3\.(map|unmap)-vaddr-flag$/, ours: '-1 EINVAL', worlds: WITH_SOCKETS }],
  },
  {
    matter: 'dirty page tracking',
    linux: 'yes',
    ours: 'EINVAL',
    why: 'pages are not tracked',
    rule: 'R9',
    records: [{ id: /^9\.dirty-(start|stop)$/, ours: '-1 EINVAL', worlds: WITH_SOCKETS }],
  },
];

/** Of what a device says about itself, and of accesses to it. */
const DEVICE: readonly Difference[] = [
  {
    matter: 'what can be mapped of a BAR',
    linux: 'any memory BAR, whatever is behind it',
    ours: 'what the driver declares; registers are answered by code, message by message',
    why: 'a store to memory would not run a handler',
    rule: 'R3',
    records: [
      { id: 'region 0000:00:04.0[0]', ours: 'rc=0 flags=0x3 size=0x100000 offset=0x0' },
      { id: '7.map-own-BAR(edu BAR0)', ours: '-1 EINVAL' },
      { id: '7.unmap-own-BAR', ours: '0 size=0x0' },
    ],
  },
  {
    matter: 'BARs smaller than a page',
    linux: 'mappable where the rest of the page is free',
    ours: 'not mappable',
    why: 'a mapping has whole pages, and a region ends where its BAR ends',
    rule: 'R1',
    records: [
      { id: 'region 0000:00:05.0[0]', ours: 'rc=0 flags=0x3 size=0x100 offset=0x0' },
      {
        id: '5.mmap-bar0-small',
        ours: '0000:00:05.0 mmap(off=0x0,len=0x1000,prot=1,flags=1) = EINVAL',
      },
    ],
  },
  {
    matter: 'pages with the MSI-X table or PBA',
    linux: 'mappable (VFIO_REGION_INFO_CAP_MSIX_MAPPABLE)',
    ours: 'a sparse region without them',
    why: 'the table is registers, and a client must not write it past us',
    rule: 'R3',
    records: [
      { id: 'region 0000:00:06.0[0]', ours: 'rc=0 flags=0xf size=0x4000 offset=0x0 cap1.v1[0+2000]' },
      {
        id: '5.mmap-nvme-bar0(msix table inside)',
        ours: '0000:00:06.0 mmap(off=0x0,len=0x4000,prot=3,flags=1) = EINVAL',
      },
    ],
  },
  {
    matter: 'the VGA region of a function without VGA',
    linux: 'EINVAL',
    ours: 'a region of size 0',
    why: 'clients ask for every index below the number of regions',
    rule: '-',
    records: [{ id: /^region .*\[8\]$/, ours: ABSENT_REGION }],
  },
  {
    matter: 'a conventional function alone on its bus',
    linux: 'has no reset',
    ours: 'has one, unless its spec says `resettable: false`; `edu` does not',
    why: 'a reset of software needs no bus',
    rule: '-',
    records: [
      { id: 'dev 0000:00:04.0', ours: 'flags=0x3 num_regions=9 num_irqs=5 vid=11e81234' },
      { id: '9.reset(edu)', ours: '0 flags=0x3' },
    ],
  },
  {
    matter: 'COMMAND when a client opens the device',
    linux: 'what firmware and host drivers left: here I/O, memory and SERR#',
    ours: 'what the spec says, else decode of what BARs there are; `edu` has memory only',
    why: 'no firmware ran before',
    rule: '-',
    records: [{ id: '4.cfg-cmd-at-open', ours: 'A 0002 B 0103 N 0103 P 0103' }],
  },
  {
    matter: 'an access that leaves its region',
    linux: 'config space: EFAULT; a BAR: the part inside, short',
    ours: 'EINVAL, and nothing of it is done',
    why: 'the protocol has no short accesses',
    rule: '-',
    records: [
      { id: '4.cfg-read-8@252', ours: '-1 EINVAL' },
      { id: '4.cfg-read-beyond', ours: '-1 EINVAL (cfg size 0x100)' },
      { id: '4.bar-read-over-end', ours: '-1 EINVAL' },
    ],
  },
  {
    matter: 'argsz of a reply',
    linux: 'as the caller set it if that was enough',
    ours: 'what there is to say',
    why: 'the protocol defines it so',
    rule: '-',
    records: [{ id: '2.dev_info-argsz1000', ours: '0 argsz=16', worlds: WITH_SOCKETS }],
  },
  {
    matter: 'a command that does not exist',
    linux: 'ENOTTY',
    ours: 'EINVAL',
    why: 'it is a message and no ioctl',
    rule: '-',
    records: [{ id: '2.dev-unknown-ioctl', ours: '-1 EINVAL', worlds: WITH_SOCKETS }],
  },
];

/** Of CPU mappings. */
const MMAP: readonly Difference[] = [
  {
    matter: 'mapping a region while it cannot be reached',
    linux: 'succeeds, and the first touch is SIGBUS',
    ours: 'EIO from our client. A process that maps the fd itself sees what Linux shows',
    why: 'a program that asks can be told; one that touches can only be killed',
    rule: 'R4',
    records: [{ id: /^6\.\w+\.i\.mmap-while-disabled$/, ours: 'EIO touch -', worlds: WITH_FILES }],
  },
  {
    matter: 'what a process can do with a mapping of a region',
    linux: 'a mapping of device pages: shared only, not executable, does not grow',
    ours: 'a mapping of a memfd: private copies, PROT_EXEC and mremap to more than the region are its own affair; what lies beyond the region is SIGBUS',
    why: 'the fd is a file; only its length is ours',
    rule: 'R10',
    records: [
      { id: '5.mmap-private', ours: mapped('0x100000', 3, 2, 'wrote 0x5a5a5a5a'), worlds: WITH_FILES },
      { id: '5.mmap-private-ro', ours: mapped('0x100000', 1, 2, '-'), worlds: WITH_FILES },
      { id: '5.mmap-exec', ours: mapped('0x1000', 5, 1, '-'), worlds: WITH_FILES },
      { id: '5.mremap-grow', ours: 'ok', worlds: WITH_FILES },
      { id: '5.madvise-DONTNEED', ours: '0 then read 0x00000001', worlds: WITH_FILES },
    ],
  },
];

export const DIFFERENCES: readonly Difference[] = [...REACH, ...MAPPING, ...DEVICE, ...MMAP];
