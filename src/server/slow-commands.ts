/*
 * Commands whose handlers take time: who is waited for, how long, and what happens when that is too long. A session has
 * at most one such command that is not answered; handlers that go on after it was answered are in the background.
 *
 * A client without a twin socket may answer no DMA message before it has its reply: QEMU's vCPU waits for it under the
 * lock that its DMA needs, and gives the device up after 5 s. So a write whose handler asks for DMA by message is answered
 * at once, as PCI posts writes; a read cannot be, and its DMA is refused. Who asked is known until the handler returns its
 * promise. Afterwards it may be other code of the device, whose DMA must not fail for it: then the access is given little
 * time instead.
 */
import { ERRNO } from '../abi/index.ts';
import { attempt } from '../core/index.ts';
import type { Background } from './background.ts';
import { READ_STALL_MS } from './limits.ts';
import type { Message } from './message.ts';
import { Patience } from './patience.ts';
import { dmaRefused, PendingCommand, stallMs } from './pending-command.ts';
import type { RegionAccess } from './region-access.ts';
import type { MessageMemory } from './remote-memory.ts';
import type { SessionReport } from './report.ts';
import type { SlowAccess } from './slow-access.ts';

/** The session, as seen from here. */
export interface SlowCommandHost {
  readonly access: RegionAccess;
  readonly background: Background;
  readonly report: SessionReport;
  readonly replyTimeoutMs: number;
  /** DMA messages on the socket of the commands; null: there are none. */
  sharedDma(): MessageMemory | null;
  /** Commands wait from now on. */
  hold(): void;
  /** They go on when `answer` has answered the one that they waited for. */
  letGo(answer: () => void): void;
  refuse(errno: number, text: string): void;
  threw(error: unknown): void;
  /** Someone else holds the message of the last command: use another for the next. */
  leaveMessage(): void;
  end(reason: string, errno: number): void;
}

/** The slow commands of one session. */
export class SlowCommands {
  readonly #host: SlowCommandHost;
  readonly #patience: Patience = new Patience(() => this.#overdue());
  #pending: PendingCommand | null = null;
  /** Settles when the device is done with the last command that took time. */
  #busy: Promise<void> | null = null;
  /** Waits no longer for the device to be done with its last client. */
  #endWait: (() => void) | null = null;
  /** Commands wait for a replacement. */
  #heldBack = false;
  /** Who wants to know when the pending command is answered. */
  #waiters: (() => void)[] = [];
  #closed = false;

  constructor(host: SlowCommandHost) {
    this.#host = host;
  }

  /** Handlers that go on after their command was answered. */
  get backgroundSize(): number {
    return this.#host.background.size;
  }

  /**
   * Commands wait until the device is replaced (`goOn`); but not while handlers are in the background, which may need what
   * the client says only then. A promise: the device is at work still; call again when it resolves.
   */
  awaitReplacement(): Promise<void> | null {
    const idle = this.#host.background.idle();
    this.#holdBack(idle === null);
    if (idle !== null) return idle;
    if (this.#pending === null) return this.#busy;
    // Answered in whatever way, for then its handler may be in the background.
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** The replacement is over, or did not come about: commands are next. */
  goOn(): void {
    this.#holdBack(false);
  }

  /** Takes the command in `message` over, which is answered when `result` is there. `number` is its number for DMA. */
  take(message: Message, result: Promise<number>, number: number): void {
    const { access, report } = this.#host;
    const { slow } = access;
    const dma = this.#host.sharedDma();
    if (slow?.isWrite) {
      if (slow.queued || dma?.askedBy(number)) {
        slow.detach();
        if (!slow.isPart) {
          access.slow = null;
          // What becomes of it is the background's.
          result.catch(() => {});
          return;
        }
      }
    } else if (dma !== null && dma.refuse(number, 'client waits for this access') > 0) {
      report.stalled(dmaRefused(message.command, slow));
    }
    this.#wait(new PendingCommand(message, slow), result);
    if (dma !== null && dma.pending > 0) this.#patience.within(stallMs(slow));
  }

  /** A DMA message is under way that may be the pending command's, or not. */
  dmaUnderWay(): void {
    const slow = this.#pending?.slow ?? null;
    if (this.#pending === null) return;
    if (!slow?.isWrite) this.#patience.within(READ_STALL_MS);
    // Not now: the handler is in the middle of something.
    else queueMicrotask(() => this.#pending?.slow === slow && this.#post(slow));
  }

  /** Commands wait until the device is done with its last client. If that takes too long, `giveUp` is called. */
  waitFor(last: Promise<void>, giveUp: () => void): void {
    this.#busy = last;
    this.#host.hold();
    const timer = setTimeout(giveUp, this.#host.replyTimeoutMs).unref();
    const endWait = (): void => {
      if (this.#endWait !== endWait) return;
      this.#endWait = null;
      clearTimeout(timer);
      if (this.#busy === last) this.#busy = null;
      this.#host.letGo(() => {});
    };
    this.#endWait = endWait;
    void last.then(endWait);
  }

  /** Resolves when no handler is at work; null: none is. */
  busy(): Promise<void> | null {
    const idle = this.#host.background.idle();
    if (idle === null || this.#busy === null) return idle ?? this.#busy;
    return Promise.all([idle, this.#busy]).then(() => {});
  }

  /**
   * The device is being replaced: nobody waits for its handlers any more. A write counts as done, a read or a reset has
   * failed. Commands wait until `goOn`.
   */
  abandon(errors: unknown[]): void {
    const pending = this.#pending;
    // The owner's listeners come last, and may throw.
    const untold: (() => void)[] = [];
    this.#holdBack(true);
    if (pending?.isOfDevice) {
      const { slow } = pending;
      untold.push(() => this.#host.report.stalled(pending.abandoned()));
      if (slow?.isWrite) this.#post(slow);
      else this.#fail(pending);
    }
    // What is pending else is no work of the device.
    if (pending === null || pending.isOfDevice) this.#busy = null;
    this.#endWait?.();
    untold.push(...this.#host.background.forget());
    for (const tell of untold) attempt(tell, errors);
  }

  /** The session ends. Resolves when no handler is at work any more; null: none is. */
  close(): Promise<void> | null {
    this.#closed = true;
    this.#patience.close();
    return this.busy();
  }

  #wait(pending: PendingCommand, result: Promise<number>): void {
    const { refuse, threw, replyTimeoutMs } = this.#host;
    this.#host.hold();
    this.#pending = pending;
    this.#patience.within(replyTimeoutMs);
    const busy = result.then(
      (errno) => this.#done(pending, () => errno !== 0 && refuse(errno, 'the device refused it')),
      (error: unknown) => this.#done(pending, () => threw(error)),
    );
    this.#busy = busy;
    void busy.then(() => {
      if (this.#busy === busy) this.#busy = null;
    });
  }

  #holdBack(on: boolean): void {
    if (on === this.#heldBack) return;
    this.#heldBack = on;
    if (on) this.#host.hold();
    else this.#host.letGo(() => {});
  }

  #done(pending: PendingCommand, answer: () => void): void {
    if (this.#pending === pending) {
      this.#settled();
      this.#host.letGo(answer);
    } else if (pending.failed && !this.#closed) this.#host.report.stalled(pending.late());
  }

  #settled(): void {
    this.#pending = null;
    this.#host.access.slow = null;
    this.#patience.end();
    for (const tell of this.#waiters.splice(0)) tell();
  }

  /** The pending write counts as done; its handler goes on in the background. */
  #post(slow: SlowAccess): void {
    if (this.#closed) return;
    if (slow.isPart) {
      slow.detach();
      return;
    }
    this.#settled();
    this.#host.letGo(() => slow.detach());
  }

  /** The client has waited long enough for the pending command. */
  #overdue(): void {
    const pending = this.#pending;
    if (pending === null || this.#closed) return;
    const { background, report } = this.#host;
    const { slow } = pending;
    const dmaWaits = (this.#host.sharedDma()?.pending ?? 0) > 0;
    if (!slow?.isWrite || !dmaWaits) report.stalled(pending.overdue(dmaWaits));
    if (slow?.isWrite) {
      this.#post(slow);
      return;
    }
    if (background.full) {
      this.#host.end(`${background.size} handlers are at work and none ends`, ERRNO.ENOBUFS);
      return;
    }
    if (this.#busy !== null) background.add(this.#busy);
    this.#fail(pending);
  }

  #fail(pending: PendingCommand): void {
    this.#settled();
    this.#host.letGo(() => {
      pending.fail();
      this.#host.leaveMessage();
    });
  }
}
