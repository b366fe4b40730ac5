/**
 * The file of `vfio serve --trace`: a line for each message of each device, in order. Lines gather while the last write
 * is under way, so that neither a slow disk nor a reader that stops holds up the devices; what does not fit meanwhile is
 * counted instead. The file has a limit, because a guest decides how much there is to say.
 */
import { closeSync, openSync, write } from 'node:fs';
import { type TracedMessage, traceLine } from '../../server/index.ts';
import { UsageError } from '../usage-error.ts';

const LIMIT_BYTES: number = 256 << 20;
/** What may wait for the disk. */
const BACKLOG_BYTES: number = 16 << 20;
const STDERR_FD = 2;

export interface TraceFileOptions {
  readonly limitBytes?: number;
  readonly backlogBytes?: number;
  /** Told once why nothing more is written. */
  readonly onEnd?: (reason: string) => void;
}

/** Where the lines go. */
export class TraceFile {
  readonly #fd: number;
  readonly #limitBytes: number;
  readonly #backlogBytes: number;
  readonly #onEnd: (reason: string) => void;
  readonly #sinceMs: number = performance.timeOrigin + performance.now();
  #lines: string[] = [];
  #waitingBytes = 0;
  #takenBytes = 0;
  #leftOut = 0;
  #ended = false;
  #writing: Promise<void> | null = null;

  /** Makes or empties the file; `-` is stderr. Only its owner may read it: it shows the guest's data. */
  static open(path: string, options: TraceFileOptions = {}): TraceFile {
    if (path === '-') return new TraceFile(STDERR_FD, options);
    try {
      return new TraceFile(openSync(path, 'w', 0o600), options);
    } catch (error) {
      throw new UsageError(
        `--trace: ${path} cannot be written (${(error as Error).message})`,
        'Name a file in a folder that is there, or - for stderr.',
      );
    }
  }

  /** Owns `fd`, unless it is stderr. */
  constructor(fd: number, options: TraceFileOptions = {}) {
    this.#fd = fd;
    this.#limitBytes = options.limitBytes ?? LIMIT_BYTES;
    this.#backlogBytes = options.backlogBytes ?? BACKLOG_BYTES;
    this.#onEnd = options.onEnd ?? (() => {});
  }

  /** Takes a message down. A `Trace`. */
  readonly add = (message: TracedMessage): void => {
    if (this.#ended) return;
    if (this.#waitingBytes >= this.#backlogBytes) {
      this.#leftOut += 1;
      return;
    }
    this.#put(traceLine(message, this.#sinceMs));
  };

  /** Resolves when all is written and the file is closed. */
  async close(): Promise<void> {
    this.#ended = true;
    while (this.#writing !== null) await this.#writing;
    if (this.#fd !== STDERR_FD) closeSync(this.#fd);
  }

  #put(line: string): void {
    const sizeBytes = Buffer.byteLength(line) + 1;
    this.#takenBytes += sizeBytes;
    if (this.#takenBytes > this.#limitBytes) {
      this.#lines.push(`the trace ends here: ${this.#limitBytes} bytes are its limit\n`);
      this.#end(`it has ${this.#limitBytes} bytes, its limit`);
    } else {
      this.#lines.push(`${line}\n`);
      this.#waitingBytes += sizeBytes;
    }
    this.#writing ??= this.#write();
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd(reason);
  }

  /** Writes until nothing waits. */
  async #write(): Promise<void> {
    // What the same batch of messages still adds goes into the first write.
    await new Promise((resolve) => setImmediate(resolve));
    try {
      while (this.#lines.length > 0) {
        const bytes = Buffer.from(this.#lines.join(''));
        this.#lines = [];
        this.#waitingBytes = 0;
        await writeAll(this.#fd, bytes);
        if (this.#leftOut > 0) this.#lines.push(`${this.#leftOut} messages left out: they came too fast\n`);
        this.#leftOut = 0;
      }
    } catch (error) {
      this.#lines = [];
      this.#end((error as Error).message);
    }
    this.#writing = null;
  }
}

async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += await new Promise<number>((resolve, reject) => {
      write(fd, bytes, at, bytes.length - at, null, (error, written) =>
        error === null ? resolve(written) : reject(error),
      );
    });
  }
}
