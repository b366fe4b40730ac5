/**
 * Listens to a device and tells what happens to its memory and its DMA.
 */
import type { VfioDevice } from '../../core/index.ts';
import { Edu } from '../../devices/edu/device.ts';
import type { Teller } from './events.ts';

/** Goes on with the instance that takes the device's place. `onReplaced` is told which one that is. */
export function observeDevice(
  name: string,
  device: VfioDevice,
  tell: Teller,
  onReplaced: (device: VfioDevice) => void = () => {},
): void {
  const ends = (['suspend', 'resume', 'release'] as const).map((event) =>
    device.on(event, ({ start, length, reason }) => tell({ event, device: name, reason, start, length })),
  );
  device.on('replace', ({ device: next }) => {
    for (const end of ends) end();
    observeDevice(name, next, tell, onReplaced);
    onReplaced(next);
  });
  if (device instanceof Edu) {
    device.on('fault', ({ iova, reason }) => tell({ event: 'dma-fault', device: name, iova, reason }));
  }
}
