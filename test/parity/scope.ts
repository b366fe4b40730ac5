/*
 * Which records of the kernel are compared with which world, and which are not, each with the reason. Every record is
 * either asked by a step or matches one pattern of OUT_OF_SCOPE; the test says when that is not so.
 */

import { SIMULATED, WITH_FILES } from './world.ts';

const WITHOUT_MESSAGES: readonly string[] = ['core', 'in process', ...SIMULATED];

export interface OutOfScope {
  readonly records: RegExp;
  readonly why: string;
}

/** Not asked in any world. */
export const OUT_OF_SCOPE: readonly OutOfScope[] = [
  {
    records: /^(0|1)\./,
    why: 'groups and containers are opened and joined by ioctl; a session has its container from the start',
  },
  { records: /^2\.(group|container)-/, why: 'there are no group and container files' },
  {
    records: /^2\.iommu_info|^2\.iommu_cap id=2$/,
    why: 'an ioctl of the container; a vfio-user server says what it takes in the version message',
  },
  { records: /^4\.(read\(\)-at-pos0|lseek-end)$/, why: 'messages have no file position' },
  {
    records: /^6\..*\.iv\.(group-unset-container|reattach)$/,
    why: 'groups; what a device can reach ends with its session',
  },
  {
    records: /^7\.(map|unmap)-BAR\+RAM/,
    why: 'a DMA_MAP names one file; two kinds of memory are two mappings',
  },
  {
    records: /^7\.rlimit(-64K)?:/,
    why: 'RLIMIT_MEMLOCK counts pinned pages; nothing is pinned here',
  },
  { records: /^8\./, why: 'interrupts; src/core/set-irqs.test.ts and src/server/irqs.test.ts have them' },
  {
    records: /^9\.(feature|hot_reset|ioeventfd)/,
    why: 'device features, hot reset and ioeventfds are no mapping; where they exist they have tests of their own',
  },
  {
    records: /^10\.(unmap-after-group-A|map$|getinfo|close-|device-still|reopen-)/,
    why: 'life of groups and of their files',
  },
  { records: /^10\.(set_iommu-TYPE1|v1-)/, why: 'only type1 v2 is offered' },
  { records: /^end$/, why: "the probe's last word" },
];

export interface Absent {
  readonly records: RegExp;
  readonly worlds: readonly string[];
  readonly why: string;
}

/** Asked in other worlds, without counterpart in this one. */
export const ABSENT: readonly Absent[] = [
  {
    worlds: WITHOUT_MESSAGES,
    records: /^2\.(dev_info-argsz|region_info-argsz|dev-unknown)/,
    why: 'nobody sends messages',
  },
  {
    worlds: WITHOUT_MESSAGES,
    records: /^3\.(map|unmap)-(flags-unknown|argsz|dirty-bitmap|vaddr-flag)/,
    why: 'nobody sends messages',
  },
  {
    worlds: ['core', ...SIMULATED],
    records: /^5\.(mmap-private|mmap-exec|mremap-grow|madvise|mlock|write\(pipe)/,
    why: 'memory management of the operating system; a Vma knows what it shows and no more',
  },
  { worlds: ['core'], records: /^7\.map-ro-BAR-vma-RW$/, why: 'a Vma has no protection' },
  { worlds: WITHOUT_MESSAGES, records: /^9\.dirty-/, why: 'nobody sends messages' },
  {
    worlds: SIMULATED,
    records: /^5\.mmap-off-unaligned$/,
    why: 'the simulated host counts in pages: there is no such offset',
  },
  {
    worlds: SIMULATED,
    records: /^5\.mmap-nvme-cmb$/,
    why: "a region of the simulated host has at most 256 pages, and nvme's memory 4096",
  },
  {
    worlds: WITH_FILES,
    records: /^2\.iommu_cap/,
    why: 'the version message says how many mappings there can be; how many are left, and where, no message tells',
  },
  {
    worlds: WITH_FILES,
    records: /^7\.map-over-end-of-BAR-vma$/,
    why: 'a DMA_MAP names a file and not a VMA',
  },
  {
    worlds: WITH_FILES,
    records: /^10\.unmap-after-last-group-left$/,
    why: 'the container ends with its session; nobody is left to ask',
  },
];

export interface Reduction {
  readonly records: RegExp;
  readonly cut: RegExp;
  readonly to: string;
  readonly why: string;
}

/** Parts of answers that are not compared: they are replaced on both sides. */
export const REDUCED: readonly Reduction[] = [
  {
    records: /^(dev|region) /,
    cut: / (argsz|cap_offset)=\d+|@\d+/g,
    to: '',
    why: "argsz is the caller's, places in the buffer are the encoder's",
  },
  { records: /^2\.iommu_cap/, cut: / @\d+ /, to: ' ', why: "places in the buffer are the encoder's" },
  { records: /\.iv\.reopen/, cut: /^\d+/, to: 'fd', why: 'numbers of file descriptors' },
];

/**
 * pci-testdev forgets what is written to its BAR2. Mapped memory of ours holds it (R8), so here the records say only that
 * the access went through.
 */
export const WITHOUT_DATA: Reduction = {
  records:
    /^6\.pcitestdev\.(edu-dma|ii\.(touch-read|edu-dma)|iii\.(touch-read|touch-after|edu-dma)|iv\.(touch|edu-dma-read)$)/,
  cut: /(read 0x|data )[0-9a-f]{8}/,
  to: '$1........',
  why: 'the device drops what is written',
};

/** An answer as it is compared. */
export function reduced(id: string, answer: string): string {
  return [...REDUCED, WITHOUT_DATA].reduce(
    (text, { records, cut, to }) => (records.test(id) ? text.replace(cut, to) : text),
    answer,
  );
}
