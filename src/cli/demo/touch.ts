/**
 * CPU touches of device memory by processes of their own: what happens to a program that has a BAR mapped.
 */
import { fileURLToPath } from 'node:url';
import { VfioError } from '../../core/index.ts';
import { LineChild } from './child.ts';

const TOUCHER = fileURLToPath(new URL('./toucher.js', import.meta.url));

/** A process that has device memory mapped and does nothing until told. */
export class Toucher {
  readonly #child: LineChild;

  private constructor(child: LineChild) {
    this.#child = child;
  }

  /** Starts a process that maps `sizeBytes` at `offset` of the file `fd`. The fd stays the caller's. */
  static async start(fd: number, offset: number, sizeBytes: number): Promise<Toucher> {
    const child = new LineChild({
      args: [TOUCHER, String(offset), String(sizeBytes)],
      fds: [fd],
      noCore: true,
    });
    if ((await child.line()) !== 'mapped') {
      const end = await child.ended;
      throw new VfioError('EIO', `the process that should map device memory ended: ${JSON.stringify(end)}`);
    }
    return new Toucher(child);
  }

  /** Reads the first `count` bytes of the mapping; the signal's name if the touch killed the process. */
  async read(count: number): Promise<{ bytes: string } | { killedBy: string }> {
    const answer = await this.#child.ask(`read ${count}`);
    if (answer !== null) return { bytes: answer };
    const end = await this.#child.ended;
    return { killedBy: end.signal ?? `exit ${end.code}` };
  }

  async stop(): Promise<void> {
    await this.#child.stop();
  }
}
