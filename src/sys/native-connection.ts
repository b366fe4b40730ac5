/*
 * A connection over the addon. Everything that passes per message is a number or lies in buffers that both sides hold
 * from the start: one call in per batch of messages, and none to take fds or to read lengths.
 */
import { errnoName } from '../abi/errno.ts';
import { connectionLimits, HEADER_BYTES, MESSAGE_FDS_MAX } from './connection-options.ts';
import { END_REASONS, EVENT_MESSAGES, EVENT_OVERSIZED, type NativeBinding } from './native.ts';
import { checked } from './sys-error.ts';
import type { Connection, ConnectionHandler, ConnectionOptions } from './sys-layer.ts';

const NO_FDS: readonly number[] = Object.freeze([]);

export class NativeConnection implements Connection {
  readonly fd: number;
  readonly received: DataView;
  readonly receivedBytes: Uint8Array;
  readonly sending: DataView;
  readonly sendingBytes: Uint8Array;
  closed = false;
  private readonly native: NativeBinding;
  private readonly handler: ConnectionHandler;
  private readonly control: Int32Array;
  private readonly id: number;
  private readonly onEnd: () => void;

  constructor(
    native: NativeBinding,
    fd: number,
    options: ConnectionOptions,
    handler: ConnectionHandler,
    onEnd: () => void,
  ) {
    const limits = connectionLimits(options);
    const received = new ArrayBuffer(limits.receiveBufferBytes);
    const sending = new ArrayBuffer(limits.sendBufferBytes);
    const control = new ArrayBuffer(native.CONTROL_WORDS * Int32Array.BYTES_PER_ELEMENT);
    this.native = native;
    this.handler = handler;
    this.onEnd = onEnd;
    this.fd = fd;
    this.received = new DataView(received);
    this.receivedBytes = new Uint8Array(received);
    this.sending = new DataView(sending);
    this.sendingBytes = new Uint8Array(sending);
    this.control = new Int32Array(control);
    this.id = native.connectionOpen(
      fd,
      received,
      sending,
      control,
      limits.maxMessageBytes,
      limits.maxMessageFds,
      limits.sendQueueBytes,
      limits.readWhileBlocked ? 1 : 0,
      limits.busyPollUs,
      limits.dedicated ? 1 : 0,
      (event, first, second) => this.onEvent(event, first, second),
    );
  }

  get fdCount(): number {
    return this.control[this.native.WORD_FD_COUNT]!;
  }

  get queuedBytes(): number {
    return this.control[this.native.WORD_QUEUED]!;
  }

  takeFds(start: number): number[] {
    const { control } = this;
    const { WORD_FDS } = this.native;
    const taken: number[] = [];
    for (let i = 0; i < this.fdCount; i++) {
      const at = WORD_FDS + 2 * i;
      if (control[at] !== start || control[at + 1] === -1) continue;
      taken.push(control[at + 1]!);
      control[at + 1] = -1;
    }
    return taken;
  }

  surplusFds(start: number): number {
    const { control } = this;
    const { WORD_SURPLUS } = this.native;
    if (control[WORD_SURPLUS] === start) return control[WORD_SURPLUS + 1]!;
    if (control[WORD_SURPLUS + 2] === start) return control[WORD_SURPLUS + 3]!;
    return 0;
  }

  send(length: number, fds: readonly number[] = NO_FDS): void {
    if (this.closed || length === 0) return;
    if (fds.length > MESSAGE_FDS_MAX)
      throw new RangeError(`vfio: a message carries at most ${MESSAGE_FDS_MAX} fds`);
    for (let i = 0; i < fds.length; i++) this.control[this.native.WORD_SENT_FDS + i] = fds[i]!;
    const result = this.native.connectionSend(this.id, length, fds.length);
    if (result < 0) checked(result, `sending ${length} bytes with fds [${fds.join(', ')}]`);
  }

  setReading(on: boolean): void {
    if (!this.closed) this.native.connectionReading(this.id, on ? 1 : 0);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.native.connectionClose(this.id);
    this.onEnd();
  }

  ref(): void {
    if (!this.closed) this.native.connectionHold(this.id, 1);
  }

  unref(): void {
    if (!this.closed) this.native.connectionHold(this.id, 0);
  }

  private onEvent(event: number, first: number, second: number): number {
    if (event === EVENT_MESSAGES) return this.handler.onMessages(first);
    if (event === EVENT_OVERSIZED) {
      return this.handler.onOversized(new DataView(this.received.buffer, 0, HEADER_BYTES));
    }
    this.closed = true;
    this.onEnd();
    const reason = END_REASONS[first]!;
    this.handler.onClose(second === 0 ? reason : `${reason} (${errnoName(second)})`, second);
    return 0;
  }
}
