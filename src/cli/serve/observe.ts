/**
 * Listens to a device and tells what happens to its memory and its DMA.
 */
import type { VfioDevice } from '../../core/index.ts';
import { Edu } from '../../devices/edu/device.ts';
import type { Teller } from './events.ts';

export function observeDevice(name: string, device: VfioDevice, tell: Teller): void {
  for (const event of ['suspend', 'resume', 'release'] as const) {
    device.on(event, ({ start, length, reason }) => tell({ event, device: name, reason, start, length }));
  }
  if (device instanceof Edu) {
    device.on('fault', ({ iova, reason }) => tell({ event: 'dma-fault', device: name, iova, reason }));
  }
}
