/*
 * The command that is being handled: where its bytes lie and what a reply to it needs. One object per session,
 * filled for each command, because a session handles one command at a time.
 */
import { VFIO_USER_FLAG_NO_REPLY, VFIO_USER_HEADER_SIZE } from '../abi/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { Outbox } from './outbox.ts';

/** For the commands that came without fds, which is nearly all of them. */
export const NO_FDS: readonly number[] = [];

/** One command of the client. Its bytes are good until the handler returns; the rest until it is answered. */
export class Message {
  view: DataView = new DataView(new ArrayBuffer(0));
  bytes: Uint8Array = new Uint8Array(0);
  /** Where the header starts. */
  at = 0;
  /** Of the whole message. */
  size = 0;
  id = 0;
  command = 0;
  /** The client wants no reply, not even an error. */
  noReply = false;

  readonly #sys: SysLayer;
  readonly #outbox: Outbox;
  #fds: readonly number[] = NO_FDS;

  constructor(sys: SysLayer, outbox: Outbox) {
    this.#sys = sys;
    this.#outbox = outbox;
  }

  /** Makes the command at `view[at]` the one that is being handled. `fds` are ours until someone takes them. */
  set(view: DataView, bytes: Uint8Array, at: number, fds: readonly number[]): void {
    this.view = view;
    this.bytes = bytes;
    this.at = at;
    this.id = view.getUint16(at, true);
    this.command = view.getUint16(at + 2, true);
    this.size = view.getUint32(at + 4, true);
    this.noReply = (view.getUint32(at + 8, true) & VFIO_USER_FLAG_NO_REPLY) !== 0;
    this.#fds = fds;
  }

  /** Where the payload starts in `view`. */
  get body(): number {
    return this.at + VFIO_USER_HEADER_SIZE;
  }

  get bodyBytes(): number {
    return this.size - VFIO_USER_HEADER_SIZE;
  }

  /** How many fds came with it. */
  get fdCount(): number {
    return this.#fds.length;
  }

  /** The fds that came with it; they are the caller's from now on. */
  takeFds(): readonly number[] {
    const fds = this.#fds;
    this.#fds = NO_FDS;
    return fds;
  }

  /** Closes the fds that the handler did not take: the client sent them where they mean nothing. */
  dropFds(): void {
    for (const fd of this.#fds) this.#sys.discard(fd);
    this.#fds = NO_FDS;
  }

  /** Answers with a body. */
  reply(body: Uint8Array): void {
    if (this.noReply) return;
    const start = this.#outbox.room(VFIO_USER_HEADER_SIZE + body.length);
    this.#outbox.bytes.set(body, start + VFIO_USER_HEADER_SIZE);
    this.#outbox.claimReply(start, this.id, this.command, body.length);
  }

  /** Answers with the header alone. */
  acknowledge(): void {
    if (this.noReply) return;
    const start = this.#outbox.room(VFIO_USER_HEADER_SIZE);
    this.#outbox.claimReply(start, this.id, this.command, 0);
  }

  /** Answers with a body and fds. The fds stay the caller's. */
  replyWithFds(body: Uint8Array, fds: readonly number[]): void {
    if (this.noReply) return;
    if (fds.length === 0) this.reply(body);
    else this.#outbox.replyWithFds(this.id, this.command, body, fds);
  }

  /** Answers with an error. */
  fail(errno: number): void {
    if (!this.noReply) this.#outbox.error(this.id, this.command, errno);
  }
}
