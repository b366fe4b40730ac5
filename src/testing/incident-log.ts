/*
 * What the guest did that a correct driver does not do, as register blocks tell it. Only blocks that answer for a whole
 * BAR are heard: those of `addRegisters`, and those given to `setBarHandler`.
 */
import type { BarIndex, PciDevice, RegisterBlock, RegisterIncident } from '../bus/pci/index.ts';
import { LOG_LIMIT } from './options.ts';

export interface IncidentRecord {
  readonly bar: number;
  readonly incident: RegisterIncident;
  /** Of the access in the block. */
  readonly offset: number;
  readonly sizeBytes: number;
}

type Listener = RegisterBlock['onIncident'];

const BARS: readonly BarIndex[] = [0, 1, 2, 3, 4, 5];

export class IncidentLog {
  readonly records: IncidentRecord[] = [];
  /** What the blocks told before: told still, and put back at the end. */
  readonly #before: Map<RegisterBlock, Listener> = new Map();

  constructor(device: PciDevice) {
    for (const bar of BARS) {
      const block = device.registerBlock(bar);
      if (block !== null && !this.#before.has(block)) this.#listen(bar, block);
    }
  }

  close(): void {
    for (const [block, listener] of this.#before) block.onIncident = listener;
    this.#before.clear();
  }

  #listen(bar: number, block: RegisterBlock): void {
    const before = block.onIncident;
    this.#before.set(block, before);
    block.onIncident = (incident, offset, sizeBytes) => {
      if (this.records.length === LOG_LIMIT) this.records.shift();
      this.records.push({ bar, incident, offset, sizeBytes });
      before?.(incident, offset, sizeBytes);
    };
  }
}
