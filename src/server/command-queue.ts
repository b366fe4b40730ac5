/*
 * Commands that arrive while the device takes its time with an earlier one. They keep their order and wait here, copied,
 * because the socket goes on being read: the answers to the device's own DMA messages come through it.
 *
 * A client that sends faster than the device works, and never waits for a reply, overruns it; then its session ends.
 */

import type { Share } from '../memory/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import { MAX_QUEUED_BYTES, MAX_QUEUED_COMMANDS, MAX_QUEUED_FDS } from './limits.ts';

/** A copied command. Its header may promise more bytes than there are: then it was larger than a message may be. */
export interface QueuedCommand {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
}

/** First in, first out, bounded by commands, bytes and fds. */
export class CommandQueue {
  readonly #sys: SysLayer;
  readonly #share: Share;
  #commands: QueuedCommand[] = [];
  #head = 0;
  #byteCount = 0;
  #fdCount = 0;
  /** How many of them the share knows; the others did not fit, and the session is about to end. */
  #countedFds = 0;

  /** The fds count for the session's share. */
  constructor(sys: SysLayer, share: Share) {
    this.#sys = sys;
    this.#share = share;
  }

  get length(): number {
    return this.#commands.length - this.#head;
  }

  /** Adds a command; false if it does not fit any more. The fds are the queue's in both cases. */
  push(bytes: Uint8Array, fds: readonly number[]): boolean {
    this.#commands.push({ bytes, fds });
    this.#byteCount += bytes.length;
    this.#fdCount += fds.length;
    while (this.#countedFds < this.#fdCount && this.#share.take()) this.#countedFds += 1;
    return (
      this.#countedFds === this.#fdCount &&
      this.length <= MAX_QUEUED_COMMANDS &&
      this.#byteCount <= MAX_QUEUED_BYTES &&
      this.#fdCount <= MAX_QUEUED_FDS
    );
  }

  /** The next command, or undefined. Its fds are the caller's. */
  shift(): QueuedCommand | undefined {
    const command = this.#commands[this.#head];
    if (command === undefined) return undefined;
    this.#head += 1;
    this.#byteCount -= command.bytes.length;
    this.#fdCount -= command.fds.length;
    for (; this.#countedFds > this.#fdCount; this.#countedFds--) this.#share.give();
    if (this.#head === this.#commands.length) {
      this.#commands = [];
      this.#head = 0;
    }
    return command;
  }

  /** Forgets all and closes their fds. */
  clear(): void {
    for (let command = this.shift(); command !== undefined; command = this.shift()) {
      for (const fd of command.fds) this.#sys.discard(fd);
    }
  }
}
