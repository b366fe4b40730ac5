/*
 * The built-in programs: small machines, each of which asks one question of a design.
 */
import { type Operation, type Program, pciDevice, plainDevice } from '../sim/program.ts';

const BAR0 = 0;
const BAR2 = 2;
const DEVICE_SPECIFIC = 9;

/** A vmm with a gpu whose BAR2 it maps, and maps for DMA in the container of a nic. */
const PEER_SETUP: readonly Operation[] = [
  { op: 'open', process: 'vmm', device: 'gpu' },
  { op: 'mmap', process: 'vmm', device: 'gpu', region: BAR2, pages: 1, as: 'window' },
  { op: 'mapDma', container: 'nics', vma: 'window', as: 'peer' },
];

const PEER = {
  devices: { gpu: pciDevice() },
  processes: ['vmm'],
  containers: ['nics'],
  setup: PEER_SETUP,
} as const;

export const PROGRAMS: readonly Program[] = [
  {
    ...PEER,
    name: 'decode',
    title: 'memory decode goes off and on again under a CPU and a DMA engine',
    threads: {
      guest: [
        { op: 'write', vma: 'window' },
        { op: 'read', vma: 'window' },
        { op: 'read', vma: 'window' },
      ],
      nic: [
        { op: 'dmaWrite', mapping: 'peer' },
        { op: 'dmaRead', mapping: 'peer' },
      ],
      driver: [
        { op: 'disable', device: 'gpu' },
        { op: 'enable', device: 'gpu' },
      ],
    },
  },
  {
    ...PEER,
    name: 'bars',
    title: 'memory decode goes off under mappings of a low BAR, a high BAR and a device-specific region',
    setup: [
      { op: 'open', process: 'vmm', device: 'gpu' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: BAR0, as: 'registers' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: BAR2, pages: 1, as: 'window' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: DEVICE_SPECIFIC, as: 'migration' },
    ],
    threads: {
      guest: [
        { any: ['registers', 'window', 'migration'].map((vma) => ({ op: 'read' as const, vma })), times: 4 },
      ],
      driver: [
        { op: 'disable', device: 'gpu' },
        { op: 'enable', device: 'gpu' },
      ],
    },
  },
  {
    ...PEER,
    name: 'release',
    title: 'the device is closed, and opened again, while a peer may still reach it by DMA',
    threads: {
      vmm: [
        { op: 'munmap', vma: 'window' },
        { op: 'close', process: 'vmm', device: 'gpu' },
        { op: 'open', process: 'vmm', device: 'gpu' },
        { op: 'unmapDma', mapping: 'peer' },
      ],
      nic: [
        { op: 'dmaRead', mapping: 'peer' },
        { op: 'dmaWrite', mapping: 'peer' },
      ],
    },
  },
  {
    ...PEER,
    name: 'reset',
    title: 'reset and D3hot: what is gone, what comes back, and what a reset may clear',
    setup: [
      ...PEER_SETUP,
      { op: 'mmap', process: 'vmm', device: 'gpu', region: BAR0, as: 'registers' },
      { op: 'write', vma: 'registers' },
    ],
    threads: {
      guest: [
        { op: 'write', vma: 'window' },
        { op: 'read', vma: 'registers' },
        { op: 'read', vma: 'window' },
      ],
      nic: [
        { op: 'dmaRead', mapping: 'peer' },
        { op: 'dmaRead', mapping: 'peer' },
      ],
      driver: [
        { op: 'reset', device: 'gpu' },
        { op: 'sleep', device: 'gpu' },
        { op: 'wake', device: 'gpu' },
      ],
    },
  },
  {
    ...PEER,
    name: 'reasons',
    title: 'memory decode and D3hot take the memory away together, and give it back in any order',
    threads: {
      guest: [
        {
          any: [
            { op: 'write', vma: 'window' },
            { op: 'read', vma: 'window' },
          ],
          times: 2,
        },
      ],
      nic: [{ op: 'dmaRead', mapping: 'peer' }],
      driver: [
        { op: 'disable', device: 'gpu' },
        { op: 'enable', device: 'gpu' },
      ],
      power: [
        { op: 'sleep', device: 'gpu' },
        { op: 'wake', device: 'gpu' },
      ],
    },
  },
  {
    ...PEER,
    name: 'fork',
    title: 'a child gets the mappings of its parent while memory decode goes off',
    processes: ['vmm', 'child'],
    threads: {
      parent: [
        { op: 'read', vma: 'window' },
        { op: 'fork', process: 'vmm', child: 'child' },
        { op: 'munmap', vma: 'window' },
        { op: 'close', process: 'vmm', device: 'gpu' },
      ],
      child: [
        {
          any: [
            { op: 'read', vma: 'child/window' },
            { op: 'write', vma: 'child/window' },
          ],
          times: 2,
        },
      ],
      driver: [
        { op: 'disable', device: 'gpu' },
        { op: 'enable', device: 'gpu' },
      ],
    },
  },
  {
    ...PEER,
    name: 'split',
    title: 'a VMA is cut, moved and cut again while memory decode goes off',
    setup: [
      { op: 'open', process: 'vmm', device: 'gpu' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: BAR2, as: 'window' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: DEVICE_SPECIFIC, as: 'migration' },
    ],
    threads: {
      guest: [
        { op: 'write', vma: 'window', page: 1 },
        { op: 'read', vma: 'migration' },
        { op: 'read', vma: 'window', page: 1 },
      ],
      mapper: [
        { op: 'munmap', vma: 'window', part: 'head' },
        { op: 'mapDma', container: 'nics', vma: 'window', page: 1, as: 'tail' },
        { op: 'mremap', vma: 'window' },
        { op: 'dmaRead', mapping: 'tail' },
      ],
      driver: [
        { op: 'disable', device: 'gpu' },
        { op: 'enable', device: 'gpu' },
      ],
    },
  },
  {
    ...PEER,
    name: 'relocate',
    title: 'the host moves the BARs, and nothing else, to other addresses',
    setup: [
      ...PEER_SETUP,
      { op: 'mmap', process: 'vmm', device: 'gpu', region: DEVICE_SPECIFIC, as: 'migration' },
      { op: 'read', vma: 'migration' },
    ],
    threads: {
      guest: [
        { op: 'write', vma: 'window' },
        { op: 'read', vma: 'window' },
        { op: 'read', vma: 'migration' },
      ],
      nic: [
        { op: 'dmaRead', mapping: 'peer' },
        { op: 'dmaRead', mapping: 'peer' },
      ],
      host: [{ op: 'relocate', device: 'gpu' }],
    },
  },
  {
    ...PEER,
    name: 'consent',
    title: 'a driver forbids DMA to one region, allows it to another, and changes its mind',
    setup: [
      ...PEER_SETUP,
      { op: 'mmap', process: 'vmm', device: 'gpu', region: DEVICE_SPECIFIC, as: 'migration' },
    ],
    threads: {
      vmm: [
        { op: 'mapDma', container: 'nics', vma: 'migration', as: 'state' },
        { op: 'unmapDma', mapping: 'peer' },
        { op: 'mapDma', container: 'nics', vma: 'window', as: 'peer' },
      ],
      nic: [
        {
          any: [
            { op: 'dmaRead', mapping: 'peer' },
            { op: 'dmaWrite', mapping: 'state' },
          ],
          times: 3,
        },
      ],
      driver: [
        { op: 'deny', device: 'gpu', region: BAR2 },
        { op: 'allow', device: 'gpu', region: DEVICE_SPECIFIC },
        { op: 'allow', device: 'gpu', region: BAR2 },
      ],
    },
  },
  {
    ...PEER,
    name: 'mapping',
    title: 'MAP_DMA and UNMAP_DMA race with memory decode',
    setup: [
      { op: 'open', process: 'vmm', device: 'gpu' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: BAR2, as: 'window' },
    ],
    threads: {
      vmm: [
        { op: 'mapDma', container: 'nics', vma: 'window', page: 1, as: 'peer' },
        { op: 'unmapDma', mapping: 'peer' },
        { op: 'mapDma', container: 'nics', vma: 'window', page: 1, as: 'peer' },
      ],
      nic: [
        {
          any: [
            { op: 'dmaRead', mapping: 'peer' },
            { op: 'dmaWrite', mapping: 'peer' },
          ],
          times: 2,
        },
      ],
      driver: [
        { op: 'disable', device: 'gpu' },
        { op: 'enable', device: 'gpu' },
      ],
    },
  },
  {
    name: 'kinds',
    title: 'a platform, an fsl-mc and an mdev device are reset under a CPU and a DMA engine',
    devices: { sensor: plainDevice('platform'), port: plainDevice('fsl-mc'), vgpu: plainDevice('mdev') },
    processes: ['vmm'],
    containers: ['nics'],
    setup: ['sensor', 'port', 'vgpu'].flatMap((device): Operation[] => [
      { op: 'open', process: 'vmm', device },
      { op: 'mmap', process: 'vmm', device, region: 1, as: `${device}-memory` },
      { op: 'mapDma', container: 'nics', vma: `${device}-memory`, as: `${device}-dma` },
    ]),
    threads: {
      guest: [
        {
          any: ['sensor', 'port', 'vgpu'].map((device) => ({ op: 'read' as const, vma: `${device}-memory` })),
          times: 2,
        },
      ],
      nic: [
        {
          any: ['sensor', 'port', 'vgpu'].map((device) => ({
            op: 'dmaRead' as const,
            mapping: `${device}-dma`,
          })),
          times: 2,
        },
      ],
      driver: [
        { any: ['sensor', 'port', 'vgpu'].map((device) => ({ op: 'reset' as const, device })), times: 2 },
      ],
    },
  },
  {
    ...PEER,
    name: 'foreign',
    title: "somebody maps another driver's device memory for DMA",
    setup: [...PEER_SETUP, { op: 'mmapForeign', process: 'vmm', as: 'framebuffer' }],
    threads: {
      vmm: [{ op: 'mapDma', container: 'nics', vma: 'framebuffer', as: 'stray' }],
      nic: [{ op: 'dmaRead', mapping: 'stray' }],
    },
  },
];
