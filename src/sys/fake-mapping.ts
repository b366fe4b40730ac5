/*
 * A window of FakeSys. A real one is lost when it is touched after its file was cut; this one at once when the file is cut.
 */
import { ERRNO } from '../abi/errno.ts';
import {
  EXTENT_BYTES,
  F_SEAL_FUTURE_WRITE,
  F_SEAL_WRITE,
  type FakeFile,
  type FileWindow,
  PAGE_BYTES,
} from './fake-file.ts';
import { sysError } from './sys-error.ts';
import type { MapAccess, Mapping } from './sys-layer.ts';

const NOTHING: Uint8Array = new Uint8Array(0);

export class FakeMapping implements Mapping, FileWindow {
  readonly sizeBytes: number;
  offset: number;
  lost = false;
  /** Its memory went away and nobody has touched it since: `copy` answers EFAULT once. */
  untouched = false;
  private file: FakeFile | null;
  private shown: Uint8Array;
  private readonly access: MapAccess;
  private readonly findFile: (fd: number) => FakeFile;
  private readonly onUnmap: (mapping: FakeMapping) => void;

  constructor(
    findFile: (fd: number) => FakeFile,
    fd: number,
    range: { readonly offset: number; readonly sizeBytes: number; readonly access: MapAccess },
    onUnmap: (mapping: FakeMapping) => void,
  ) {
    this.findFile = findFile;
    this.onUnmap = onUnmap;
    this.offset = range.offset;
    this.sizeBytes = range.sizeBytes;
    this.access = range.access;
    this.file = this.checkedFile(fd, range.offset);
    this.shown = this.file.bytesFor(range.offset, range.sizeBytes);
    this.file.windows.add(this);
  }

  get bytes(): Uint8Array {
    return this.shown;
  }

  get buffer(): ArrayBuffer {
    return this.shown.buffer as ArrayBuffer;
  }

  replace(fd: number, offset: number): void {
    this.assertOpen();
    const file = this.checkedFile(fd, offset);
    this.leaveFile();
    this.file = file;
    this.offset = offset;
    file.adoptOrCopy(offset, this.shown);
    file.windows.add(this);
    this.lost = false;
    this.untouched = false;
  }

  revoke(): void {
    this.assertOpen();
    this.leaveFile();
    this.shown.fill(0);
  }

  unmap(): void {
    if (this.shown === NOTHING) return;
    this.file?.windows.delete(this);
    this.file = null;
    this.onUnmap(this);
    this.shown = NOTHING;
  }

  memoryLost(): void {
    this.lost = true;
    this.untouched = true;
  }

  private leaveFile(): void {
    this.file?.windows.delete(this);
    this.file?.evacuate(this.shown);
    this.file = null;
  }

  private checkedFile(fd: number, offset: number): FakeFile {
    const what = `mapping ${this.sizeBytes} bytes at ${offset} of fd ${fd}`;
    const file = this.findFile(fd);
    const { sizeBytes } = this;
    const aligned = offset >= 0 && offset % PAGE_BYTES === 0 && sizeBytes > 0 && sizeBytes % PAGE_BYTES === 0;
    const end = Math.ceil(file.sizeBytes / PAGE_BYTES) * PAGE_BYTES;
    if (!aligned || sizeBytes > EXTENT_BYTES || offset + sizeBytes > end) throw sysError(ERRNO.EINVAL, what);
    const sealed = (file.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0;
    if (sealed && this.access === 'rw') throw sysError(ERRNO.EPERM, what);
    return file;
  }

  private assertOpen(): void {
    if (this.shown === NOTHING) throw new Error('vfio: the window was unmapped');
  }
}
