/*
 * Rows of bench/guest.ts, which runs in a process of its own because it is TypeScript.
 */
import { fileURLToPath } from 'node:url';
import { findCache } from '../dist/qemu/cache-folder.js';
import { jsonLines } from './tools.mjs';

const guest = fileURLToPath(new URL('./guest.ts', import.meta.url));

/** Whether QEMU and a guest kernel are there. */
export function canBootGuests() {
  return (findCache()?.kernels.size ?? 0) > 0;
}

/** Figures in a guest, as rows of the table. */
export async function guestRows(rounds) {
  const [figures] = await jsonLines(process.execPath, ['--import', 'tsx', guest, rounds]);
  const megabytes = (bytes) => bytes / 1e6;
  const read = (name, ns) => ({
    name: `in a guest (TCG): register read of our edu${name}`,
    value: ns,
    unit: 'ns',
    floor: figures.qemuReadNs,
    floorName: "QEMU's own edu",
    ratio: ns / figures.qemuReadNs,
  });
  return [
    read('', figures.readNs),
    read(', busy-polling', figures.busyReadNs),
    {
      name: 'in a guest: DMA of our edu, 4 KiB each',
      value: megabytes(figures.dma),
      unit: 'MB/s',
      floor: megabytes(figures.qemuDma),
      floorName: "QEMU's own edu, 100 ms each by its timer",
      ratio: figures.dma / figures.qemuDma,
      ratioKind: 'speed',
    },
    {
      name: 'in a guest: peer-to-peer at memory speed, 4 KiB each',
      value: megabytes(figures.peer),
      unit: 'MB/s',
      floor: megabytes(figures.peerByMessages),
      floorName: 'by messages',
      ratio: figures.peer / figures.peerByMessages,
      ratioKind: 'speed',
    },
  ];
}
