/*
 * The DMA sources that are not device memory: a range of a client's file, and a range that only messages can reach.
 */
import type { DmaFaultReason, DmaSource } from '../core/index.ts';
import type { ClientFile } from './client-file.ts';
import type { ClientFiles } from './client-files.ts';

/** How a client's file is reached: mapped for good, mapped under guard, or read and written. */
export type ClientAccess = 'sealed' | 'guarded' | 'file-io';

/** A range of a file that the client gave with DMA_MAP. Holds a reference to the file until `detach`. */
export class ClientMemory implements DmaSource {
  readonly kind = 'client' as const;
  readonly file: ClientFile;
  /** Place of the range in the file, in bytes. */
  readonly fileOffset: number;
  readonly sizeBytes: number;

  readonly #files: ClientFiles;
  readonly #askedFileIo: boolean;
  #attached = true;

  /** Takes over one reference to `file`. */
  constructor(files: ClientFiles, file: ClientFile, fileOffset: number, sizeBytes: number, fileIo: boolean) {
    this.#files = files;
    this.#askedFileIo = fileIo;
    this.file = file;
    this.fileOffset = fileOffset;
    this.sizeBytes = sizeBytes;
  }

  /** Whether it is reached by pread and pwrite: the client asked for it, or the file cannot be mapped. */
  get fileIo(): boolean {
    return this.#askedFileIo || this.file.fileIo;
  }

  get access(): ClientAccess {
    if (this.fileIo) return 'file-io';
    return this.file.sealed ? 'sealed' : 'guarded';
  }

  get description(): string {
    const name = this.file.region;
    const what =
      name === null ? 'client memory' : `region ${name.index} of ${name.device} in another process`;
    return `${what} (${this.access}), file offset 0x${this.fileOffset.toString(16)}`;
  }

  /** Known only when it is touched. */
  unavailable(): DmaFaultReason | null {
    return null;
  }

  detach(): void {
    if (!this.#attached) return;
    this.#attached = false;
    this.#files.release(this.file);
  }
}

/** A range without an fd: the session's DMA_READ and DMA_WRITE messages reach it. */
export class RemoteRange implements DmaSource {
  readonly kind = 'remote' as const;
  readonly description: string = 'client memory by messages';

  unavailable(): DmaFaultReason | null {
    return null;
  }

  detach(): void {}
}
