/*
 * A command whose handler takes time, and what the server's owner is told when the client cannot wait that long.
 */
import {
  ERRNO,
  errnoName,
  VFIO_USER_DEVICE_RESET,
  VFIO_USER_REGION_READ,
  vfioUserCommandName,
} from '../abi/index.ts';
import { READ_STALL_MS, WRITE_STALL_MS } from './limits.ts';
import type { Message } from './message.ts';
import type { StallEvent } from './session-context.ts';
import type { SlowAccess } from './slow-access.ts';

const ADVICE =
  'answer from a register, and do the DMA in the background before, or use a client with a twin socket';

/** The command that a session waits for. */
export class PendingCommand {
  /** The region access that it is; null: another command. */
  readonly slow: SlowAccess | null;
  /** Whether it was answered for the device, with an error. */
  failed = false;

  readonly #message: Message;
  readonly #command: number;
  readonly #sinceMs: number = performance.now();

  constructor(message: Message, slow: SlowAccess | null) {
    this.slow = slow;
    this.#message = message;
    this.#command = message.command;
  }

  /** Whether it is the device's code that takes its time. */
  get isOfDevice(): boolean {
    return this.slow !== null || this.#command === VFIO_USER_DEVICE_RESET;
  }

  /** Answers with an error. The message is of no use to anybody else afterwards: what its handler answers is dropped. */
  fail(): void {
    this.failed = true;
    this.slow?.detach();
    this.#message.fail(this.#errno);
    this.#message.noReply = true;
  }

  /** `dmaWaits`: DMA messages may wait for the reply to this command. */
  overdue(dmaWaits: boolean): StallEvent {
    const waited = `${this.#what} is not done after ${Math.round(performance.now() - this.#sinceMs)} ms`;
    if (this.slow?.isWrite) {
      return this.#event(
        'posted',
        `${waited}: it was answered as done and goes on; answer at once and work in the background`,
      );
    }
    const advice = dmaWaits
      ? `DMA messages are under way, and the client may answer them only after it: ${ADVICE}`
      : 'answer from a register and work in the background';
    return this.#event('failed', `${waited}: it was answered with ${errnoName(this.#errno)}; ${advice}`);
  }

  /** The device was replaced before it was done. */
  abandoned(): StallEvent {
    const what = `${this.#what} was not done when the device was replaced`;
    return this.slow?.isWrite
      ? this.#event('posted', `${what}: it was answered as done`)
      : this.#event('failed', `${what}: it was answered with ${errnoName(this.#errno)}`);
  }

  /** Its handler is done, after `fail`. */
  late(): StallEvent {
    const ms = Math.round(performance.now() - this.#sinceMs);
    return this.#event('late', `${this.#what} was done after ${ms} ms: its result was dropped`);
  }

  get #errno(): number {
    return this.#command === VFIO_USER_REGION_READ ? ERRNO.EIO : ERRNO.ETIMEDOUT;
  }

  get #what(): string {
    return describe(this.#command, this.slow);
  }

  #event(outcome: StallEvent['outcome'], text: string): StallEvent {
    return { command: this.#command, access: this.slow?.range ?? null, outcome, text };
  }
}

/** DMA was refused that the handler of this command asked for before it returned its promise. */
export function dmaRefused(command: number, slow: SlowAccess | null): StallEvent {
  const text = `${describe(command, slow)} asked for DMA that goes by message, which the client may answer only after it: the DMA was refused with EDEADLK; ${ADVICE}`;
  return { command, access: slow?.range ?? null, outcome: 'dma refused', text };
}

/** How long an access may go on while DMA messages may wait for the reply to it. */
export function stallMs(slow: SlowAccess | null): number {
  return slow?.isWrite ? WRITE_STALL_MS : READ_STALL_MS;
}

function describe(command: number, slow: SlowAccess | null): string {
  const name = vfioUserCommandName(command);
  if (slow === null) return name;
  const { regionIndex, offset, count } = slow.range;
  return `${name} of ${count} bytes at 0x${offset.toString(16)} of region ${regionIndex}`;
}
