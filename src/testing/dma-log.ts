/*
 * What the device did by DMA, in the order in which it ended, what did not pass included.
 */
import type { DmaObserver } from '../bus/pci/index.ts';
import type { DmaFault, DmaFaultReason } from '../core/index.ts';
import { LOG_LIMIT } from './options.ts';

/** One transfer, as the device sees it. */
export interface DmaOperation {
  /** `read`: from guest memory. `window`: a direct view was asked for; what went through it is not seen. */
  readonly operation: 'read' | 'write' | 'window';
  readonly iova: number;
  readonly sizeBytes: number;
  /** Why it did not happen, or null. */
  readonly fault: DmaFaultReason | null;
}

export class DmaLog {
  readonly operations: DmaOperation[] = [];
  /** Transfers that ended, those that the log has dropped included. */
  ended = 0;
  /** Transfers under way. */
  inFlight = 0;

  readonly observe: DmaObserver = (operation, iova, sizeBytes, result) => {
    const end = (fault: DmaFault | null): void => {
      this.ended += 1;
      if (this.operations.length === LOG_LIMIT) this.operations.shift();
      this.operations.push({ operation, iova, sizeBytes, fault: fault?.reason ?? null });
    };
    if (!(result instanceof Promise)) {
      end(result);
      return;
    }
    this.inFlight += 1;
    const over = (): void => {
      this.inFlight -= 1;
    };
    result.then(end).then(over, over);
  };
}
