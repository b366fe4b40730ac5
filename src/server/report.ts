/*
 * What goes wrong in a session: counted, told to the observer, and logged as long as the log stays readable.
 */
import { ERRNO, errnoName, vfioUserCommandName } from '../abi/index.ts';
import { MAX_LOGGED_ERRORS } from './limits.ts';
import type { Logger } from './logger.ts';
import type { SessionContext, SessionObserver, StallEvent } from './session-context.ts';

/** The mistakes of one session. */
export class SessionReport {
  /** The client broke the protocol. */
  protocolErrors = 0;
  /** The device's code threw, or answered with no errno. */
  handlerErrors = 0;
  /** Posted writes that could not be done. */
  droppedWrites = 0;
  /** Commands whose handlers the client could not wait for. */
  stalls = 0;

  readonly #of: Pick<SessionContext, 'device'>;
  readonly #log: Logger;
  readonly #observer: SessionObserver;

  /** `of` names the device, which may be replaced. */
  constructor(of: Pick<SessionContext, 'device'>, log: Logger, observer: SessionObserver) {
    this.#of = of;
    this.#log = log;
    this.#observer = observer;
  }

  /** A command was refused for what is wrong with it. */
  refused(command: number, errno: number, text: string): void {
    const name = vfioUserCommandName(command);
    this.protocolErrors += 1;
    this.#warn(`${name} refused with ${errnoName(errno)}: ${text}`, this.protocolErrors);
    this.#observer.protocolError({ command, errno, text });
  }

  /** Something is wrong that is no command. */
  complain(text: string): void {
    this.protocolErrors += 1;
    this.#warn(text, this.protocolErrors);
    this.#observer.protocolError({ command: 0, errno: ERRNO.EPROTO, text });
  }

  handlerFailed(during: string, error: unknown): void {
    this.handlerErrors += 1;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    if (this.handlerErrors <= MAX_LOGGED_ERRORS) {
      this.#log('error', `${this.#of.device.name}: threw during ${during}: ${text}`);
    }
    this.#observer.handlerError({ during, error });
  }

  dropped(regionIndex: number, offset: number, count: number, errno: number): void {
    this.droppedWrites += 1;
    const what = `posted write of ${count} bytes at ${offset} of region ${regionIndex} dropped`;
    this.#warn(`${what} (${errnoName(errno)})`, this.droppedWrites);
    this.#observer.dropped({ regionIndex, offset, count, errno });
  }

  /** A handler took longer than its client waits, or asked for what that client cannot give meanwhile. */
  stalled(event: StallEvent): void {
    this.stalls += 1;
    this.#warn(event.text, this.stalls);
    this.#observer.stalled(event);
  }

  #warn(text: string, occurrence: number): void {
    if (occurrence > MAX_LOGGED_ERRORS) return;
    const last = occurrence === MAX_LOGGED_ERRORS ? ' (no more of these are logged)' : '';
    this.#log('warn', `${this.#of.device.name}: ${text}${last}`);
  }
}
