/*
 * A program that is far too large to be tried whole: every operation there is, on three devices of two kinds, by three processes, as
 * often as one likes. For random walks.
 */
import { type Operation, type Program, pciDevice, plainDevice } from '../sim/program.ts';

const BAR2 = 2;
const DEVICE_SPECIFIC = 9;
const DEVICES = ['gpu', 'nic', 'vgpu'] as const;
const TIMES = 50;

const any = (operations: readonly Operation[]): [{ any: readonly Operation[]; times: number }] => [
  { any: operations, times: TIMES },
];

export const HURRICANE: Program = {
  name: 'hurricane',
  title: 'everything that there is at once; for random walks',
  devices: { gpu: pciDevice(), nic: pciDevice(), vgpu: plainDevice('mdev') },
  processes: ['vmm', 'driver', 'child'],
  containers: ['nics', 'gpus'],
  setup: [
    { op: 'open', process: 'vmm', device: 'gpu' },
    { op: 'open', process: 'vmm', device: 'vgpu' },
    { op: 'open', process: 'driver', device: 'nic' },
    { op: 'mmap', process: 'vmm', device: 'gpu', region: BAR2, as: 'gpu-window' },
    { op: 'mmap', process: 'vmm', device: 'gpu', region: DEVICE_SPECIFIC, as: 'gpu-migration' },
    { op: 'mmap', process: 'vmm', device: 'vgpu', region: 1, as: 'vgpu-window' },
    { op: 'mmap', process: 'driver', device: 'nic', region: BAR2, as: 'nic-window' },
  ],
  threads: {
    vmm: any([
      { op: 'write', vma: 'gpu-window', page: 1, value: 2 },
      { op: 'read', vma: 'gpu-window', page: 1 },
      { op: 'read', vma: 'gpu-migration' },
      { op: 'write', vma: 'vgpu-window', value: 3 },
      { op: 'mremap', vma: 'gpu-window' },
      { op: 'munmap', vma: 'gpu-window', part: 'head' },
      { op: 'munmap', vma: 'gpu-window' },
      { op: 'mmap', process: 'vmm', device: 'gpu', region: BAR2, as: 'gpu-window' },
      { op: 'close', process: 'vmm', device: 'gpu' },
      { op: 'open', process: 'vmm', device: 'gpu' },
      { op: 'fork', process: 'vmm', child: 'child' },
    ]),
    child: any([
      { op: 'read', vma: 'child/gpu-window', page: 1 },
      { op: 'write', vma: 'child/vgpu-window' },
      { op: 'munmap', vma: 'child/gpu-window' },
      { op: 'munmap', vma: 'child/gpu-migration' },
      { op: 'close', process: 'child', device: 'gpu' },
    ]),
    driver: any([
      { op: 'write', vma: 'nic-window', value: 4 },
      { op: 'read', vma: 'nic-window', page: 1 },
      { op: 'munmap', vma: 'nic-window' },
      { op: 'close', process: 'driver', device: 'nic' },
      { op: 'open', process: 'driver', device: 'nic' },
      { op: 'mmap', process: 'driver', device: 'nic', region: BAR2, as: 'nic-window' },
    ]),
    mapper: any([
      { op: 'mapDma', container: 'nics', vma: 'gpu-window', page: 1, as: 'gpu-peer' },
      { op: 'mapDma', container: 'nics', vma: 'gpu-migration', as: 'migration-peer' },
      { op: 'mapDma', container: 'nics', vma: 'vgpu-window', as: 'vgpu-peer' },
      { op: 'mapDma', container: 'gpus', vma: 'nic-window', as: 'nic-peer' },
      ...['gpu-peer', 'migration-peer', 'vgpu-peer', 'nic-peer'].map((mapping) => ({
        op: 'unmapDma' as const,
        mapping,
      })),
    ]),
    engines: any(
      ['gpu-peer', 'migration-peer', 'vgpu-peer', 'nic-peer'].flatMap((mapping): Operation[] => [
        { op: 'dmaRead', mapping },
        { op: 'dmaWrite', mapping, value: 5 },
      ]),
    ),
    host: any([
      ...DEVICES.map((device) => ({ op: 'reset' as const, device })),
      ...(['gpu', 'nic'] as const).flatMap((device): Operation[] => [
        { op: 'disable', device },
        { op: 'enable', device },
        { op: 'sleep', device },
        { op: 'wake', device },
        { op: 'relocate', device },
      ]),
    ]),
    policy: any([
      { op: 'allow', device: 'gpu', region: DEVICE_SPECIFIC },
      { op: 'deny', device: 'gpu', region: DEVICE_SPECIFIC },
      { op: 'deny', device: 'vgpu', region: 1 },
      { op: 'allow', device: 'vgpu', region: 1 },
    ]),
  },
};
