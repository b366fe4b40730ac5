/*
 * The largest built-in program: two processes, two devices that reach each other's memory, two containers, and everything that may
 * happen to them at the same time.
 */
import { type Operation, type Program, pciDevice } from '../sim/program.ts';

const BAR2 = 2;

/** A process that has a device open, its BAR2 mapped, and that in a container for the other device to reach. */
function owner(process: string, device: string, container: string): Operation[] {
  return [
    { op: 'open', process, device },
    { op: 'mmap', process, device, region: BAR2, pages: 1, as: `${device}-window` },
    { op: 'mapDma', container, vma: `${device}-window`, as: `${device}-peer` },
  ];
}

export const STORM: Program = {
  name: 'storm',
  title: 'two processes, two devices, two containers, and everything at once',
  devices: { gpu: pciDevice(), nic: pciDevice() },
  processes: ['vmm', 'driver'],
  containers: ['nics', 'gpus'],
  setup: [...owner('vmm', 'gpu', 'nics'), ...owner('driver', 'nic', 'gpus')],
  threads: {
    cpu: [
      {
        any: [
          { op: 'write', vma: 'gpu-window' },
          { op: 'read', vma: 'nic-window' },
        ],
        times: 2,
      },
    ],
    engines: [
      {
        any: [
          { op: 'dmaWrite', mapping: 'gpu-peer' },
          { op: 'dmaRead', mapping: 'nic-peer' },
        ],
        times: 2,
      },
    ],
    mapper: [
      {
        any: [
          { op: 'unmapDma', mapping: 'gpu-peer' },
          { op: 'mapDma', container: 'nics', vma: 'gpu-window', as: 'gpu-peer' },
          { op: 'munmap', vma: 'gpu-window' },
          { op: 'mremap', vma: 'nic-window' },
          { op: 'close', process: 'vmm', device: 'gpu' },
          { op: 'open', process: 'vmm', device: 'gpu' },
        ],
        times: 3,
      },
    ],
    host: [
      {
        any: [
          { op: 'disable', device: 'gpu' },
          { op: 'enable', device: 'gpu' },
          { op: 'reset', device: 'nic' },
          { op: 'sleep', device: 'gpu' },
          { op: 'wake', device: 'gpu' },
          { op: 'deny', device: 'gpu', region: BAR2 },
          { op: 'allow', device: 'gpu', region: BAR2 },
        ],
        times: 3,
      },
    ],
  },
};
