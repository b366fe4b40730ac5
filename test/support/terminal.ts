/*
 * A program that has a terminal open: it reads and writes when it can, as much as it wants.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Nothing happens for so long only when nothing ever will. */
const IDLE_MS = 60_000;

export class Terminal {
  readonly #file: FileHandle;
  readonly #buffer: Uint8Array = new Uint8Array(4096);

  static async open(path: string): Promise<Terminal> {
    return new Terminal(await open(path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK));
  }

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Reads what comes until there are `count` bytes; fewer if nothing comes for a long time. */
  async read(count: number): Promise<Uint8Array> {
    const got = new Uint8Array(count);
    let until = performance.now() + IDLE_MS;
    let done = 0;
    while (done < count && performance.now() < until) {
      const wanted = Math.min(this.#buffer.length, count - done);
      const bytesRead = await this.#file
        .read(this.#buffer, 0, wanted)
        .then((result) => result.bytesRead, busy);
      got.set(this.#buffer.subarray(0, bytesRead), done);
      done += bytesRead;
      if (bytesRead > 0) until = performance.now() + IDLE_MS;
    }
    return got.subarray(0, done);
  }

  /** Resolves when the terminal has taken all of it, or takes nothing for a long time. */
  async write(bytes: Uint8Array): Promise<void> {
    let until = performance.now() + IDLE_MS;
    for (let done = 0; done < bytes.length && performance.now() < until; ) {
      const rest = bytes.length - done;
      const written = await this.#file.write(bytes, done, rest).then((result) => result.bytesWritten, busy);
      done += written;
      if (written > 0) until = performance.now() + IDLE_MS;
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

async function busy(error: NodeJS.ErrnoException): Promise<number> {
  if (error.code !== 'EAGAIN') throw error;
  await new Promise((resolve) => setTimeout(resolve, 2));
  return 0;
}
