/*
 * The designs that have a name: what kernels did and do, what was proposed, and ours.
 *
 * Sources: vfio_pci.c and vfio_iommu_type1.c of 5.11 and 6.12; the ten patches of 2021-02-22 as posted; the mail of 2021-02-24 on
 * patch 05; vfio_pci_dmabuf.c and iommufd of 6.19.
 */
import { VfioError } from '../core/index.ts';
import { type Design, everyKind, ORDERS, type Orders } from './design.ts';

const WALK = ['fault in', 'walk', 'lock container', 'insert', 'reference', 'program', 'unlock'];
const LOOKUP = ['lock memory', 'lock container', 'insert', 'reference', 'program', 'unlock'];

const LINUX_ORDER: Orders = { ...ORDERS, map: WALK };
const LOOKUP_ORDER: Orders = { ...ORDERS, map: LOOKUP };

const LINUX_5_11: Design = {
  name: 'linux-5.11',
  title: 'pfn in vm_pgoff, a list of VMAs, type1 walks the page table and is told nothing',
  pgoff: { pci: 'pfn', platform: 'pfn', 'fsl-mc': 'pfn', mdev: 'region' },
  zap: { pci: 'vma-list', platform: 'nothing', 'fsl-mc': 'nothing', mdev: 'nothing' },
  learn: 'page-walk',
  reference: false,
  notifier: 'none',
  resume: 'nothing',
  consent: 'none',
  park: false,
  order: LINUX_ORDER,
};

const RFC_2021: Design = {
  ...LINUX_5_11,
  name: 'rfc-2021',
  title:
    'the ten patches as posted: range invalidation, lookup of the owner, a notifier for release; pfn still in vm_pgoff',
  zap: { ...LINUX_5_11.zap, pci: 'bar-range' },
  reference: true,
  notifier: 'release',
};

const SEED_MAIL: Design = {
  ...RFC_2021,
  name: 'seed-mail',
  title: 'the mail on patch 05: region coding everywhere, and a lookup that says no where it must',
  pgoff: everyKind('region'),
  learn: 'lookup',
  consent: 'region',
  order: LOOKUP_ORDER,
};

const LINUX_6_12: Design = {
  ...LINUX_5_11,
  name: 'linux-6.12',
  title: 'region coding for pci, range invalidation, type1 still walks the page table and is told nothing',
  pgoff: { ...LINUX_5_11.pgoff, pci: 'region' },
  zap: { ...LINUX_5_11.zap, pci: 'bar-range' },
};

const DMA_BUF_6_19: Design = {
  ...LINUX_6_12,
  name: 'dma-buf-6.19',
  title: 'the BAR is exported as a dma-buf, which is revoked with the memory; no way back',
  learn: 'lookup',
  reference: true,
  notifier: 'suspend-and-release',
  consent: 'region',
  order: LOOKUP_ORDER,
};

const NODE_VFIO: Design = {
  name: 'node-vfio',
  title: 'region coding everywhere, lookup, consent by region, suspend and release, and the way back',
  pgoff: everyKind('region'),
  zap: { pci: 'bar-range', platform: 'everything', 'fsl-mc': 'everything', mdev: 'everything' },
  learn: 'lookup',
  reference: true,
  notifier: 'suspend-and-release',
  resume: 'come-back',
  consent: 'region',
  park: true,
  order: LOOKUP_ORDER,
};

/** By age. */
export const DESIGNS: readonly Design[] = [
  LINUX_5_11,
  RFC_2021,
  SEED_MAIL,
  LINUX_6_12,
  DMA_BUF_6_19,
  NODE_VFIO,
];

/** A design by its name. EINVAL tells the names that there are. */
export function designNamed(name: string): Design {
  const found = DESIGNS.find((design) => design.name === name);
  if (found !== undefined) return found;
  const names = DESIGNS.map((design) => design.name).join(', ');
  throw new VfioError('EINVAL', `no design is named '${name}'; there are ${names}`);
}
