/*
 * What a DMA_MAP is. Five kinds of memory come as one message, and the fd tells them apart:
 * 1. a region of ours: device memory by reference, where its driver consents (R2, R3, R6);
 * 2. a file that the kernel promises not to shorten (F_SEAL_SHRINK): mapped;
 * 3. any other file, a region of a device in another process among them: mapped under guard;
 * 4. a file that cannot be mapped, or that the client wants to be read: pread and pwrite;
 * 5. no fd: messages to the client, unless the range is a region of a device of ours that the same process attached.
 */
import {
  DeviceMemory,
  type DmaSource,
  indexToOffset,
  PAGE_SIZE,
  type Region,
  VfioError,
} from '../core/index.ts';
import type { FileIdentity, SysLayer } from '../sys/sys-layer.ts';
import type { FileShares } from './budget.ts';
import type { ClientFile } from './client-file.ts';
import type { ClientFiles } from './client-files.ts';
import { ClientMemory, RemoteRange } from './client-memory.ts';
import { consents, type RegionName } from './consent-name.ts';
import type { RegionRegistry } from './registry.ts';

/** The client's wish: VFIO_USER_F_DMA_REGION's access mode bits. */
export type AccessMode = 'any' | 'mmap' | 'file-io';

/** A DMA_MAP as the server decoded it. */
export interface ClassifyRequest {
  /** The fd that came with the message, or null. `classify` consumes it, also when it throws. */
  readonly fd: number | null;
  /** Place in the fd's file. */
  readonly offset: number;
  readonly size: number;
  readonly iova: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly mode: AccessMode;
  /** Process at the other end of the socket, or null if unknown. */
  readonly peerPid: number | null;
}

/** Where `classify` looks things up. */
export interface ClassifyContext {
  readonly sys: SysLayer;
  readonly files: ClientFiles;
  /** What the session may use up. Absent: whoever asks is no peer but this process. */
  readonly shares?: FileShares;
  readonly registry: RegionRegistry;
  /** The region that process `pid` has at exactly [iova, iova + size), of a device that it attached through us. */
  readonly peerBars?: (iova: number, size: number, pid: number) => { region: Region; offset: number } | null;
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const O_RDONLY = 0;
const O_WRONLY = 1;
const F_SEAL_WRITE = 0x0008;
const F_SEAL_FUTURE_WRITE = 0x0010;

/**
 * Finds the source of a DMA_MAP. Throws VfioError:
 * - EINVAL: access mode bits without an fd, an offset that is not page aligned, a file that ends before the range, an fd
 *   that is no file of memory, a region without consent there (R3);
 * - EACCES: the fd's access mode or its seals forbid what the flags ask for;
 * - EFAULT: a region that cannot be reached now (R4), as type1 answers for a VMA that cannot be faulted in;
 * - ENOSPC: the session holds as many files as it may;
 * - ENODEV: the client insists on mmap and the file cannot be mapped.
 */
export function classify(request: ClassifyRequest, context: ClassifyContext): DmaSource {
  if (request.fd === null) return withoutFd(request, context);
  return withFd(request.fd, request, context);
}

function withoutFd(request: ClassifyRequest, context: ClassifyContext): DmaSource {
  if (request.mode !== 'any') {
    throw new VfioError('EINVAL', 'DMA_MAP has an access mode bit but no fd; send the fd or clear the bit');
  }
  const { iova, size, peerPid } = request;
  const bar = peerPid === null ? null : (context.peerBars?.(iova, size, peerPid) ?? null);
  // Where its driver does not consent, or while it is out of reach, the client still knows what to answer.
  if (bar === null || bar.region.dmaReason(bar.offset, size) !== null) return new RemoteRange();
  return new DeviceMemory({ region: bar.region, offset: bar.offset, sizeBytes: size });
}

function withFd(fd: number, request: ClassifyRequest, context: ClassifyContext): DmaSource {
  let file: ClientFile;
  let identity: FileIdentity;
  let ours = true;
  try {
    identity = context.sys.identity(fd);
    checkRequest(request, identity);
    const region = context.registry.regionOf(identity);
    if (region !== undefined) return ourRegion(region, request);
    ours = false;
    file = context.files.open(fd, identity, context.shares ?? null);
  } finally {
    if (ours) context.sys.discard(fd);
  }
  try {
    checkFile(file, request, identity);
  } catch (error) {
    context.files.release(file);
    throw error;
  }
  return new ClientMemory(context.files, file, request.offset, request.size, request.mode === 'file-io');
}

/** What can be said of any fd. */
function checkRequest({ offset, read, write }: ClassifyRequest, identity: FileIdentity): void {
  if (offset % PAGE_SIZE !== 0) {
    throw new VfioError(
      'EINVAL',
      `DMA_MAP offset 0x${offset.toString(16)} is not a multiple of ${PAGE_SIZE}`,
    );
  }
  if ((identity.mode & S_IFMT) !== S_IFREG) {
    throw new VfioError('EINVAL', 'the fd of DMA_MAP is no file of memory; send a memfd or a file, or no fd');
  }
  const { accessMode, seals } = identity;
  const sealedForWriting = seals > 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0;
  if (write && (accessMode === O_RDONLY || sealedForWriting)) {
    throw new VfioError(
      'EACCES',
      'DMA_MAP asks for writing, but its fd is read-only; open it O_RDWR or clear the flag',
    );
  }
  if (read && accessMode === O_WRONLY) {
    throw new VfioError('EACCES', 'DMA_MAP asks for reading, but its fd is write-only; open it O_RDWR');
  }
}

function ourRegion(region: Region, { offset, size, read, write }: ClassifyRequest): DeviceMemory {
  const memory = new DeviceMemory({ region, offset: offset - region.offset, sizeBytes: size });
  memory.admit(0, size, read, write);
  return memory;
}

function checkFile(file: ClientFile, request: ClassifyRequest, { sizeBytes }: FileIdentity): void {
  const { offset, size, mode } = request;
  if (file.region !== null) checkForeignRegion(file.region, offset, size);
  if (sizeBytes < offset + size) {
    // A region keeps its size; if its file is shorter, its device is suspended.
    if (file.region !== null)
      throw new VfioError('EFAULT', 'the region behind the fd is suspended; map it later');
    throw new VfioError('EINVAL', `the file of DMA_MAP ends at ${sizeBytes}, before ${offset} + ${size}`);
  }
  if (mode === 'mmap' && file.bytesAt(offset, 1).length === 0) {
    throw new VfioError('ENODEV', 'the fd of DMA_MAP cannot be mapped; allow file I/O or send another fd');
  }
}

function checkForeignRegion(region: RegionName, offset: number, size: number): void {
  const place = offset - indexToOffset(region.index);
  if (consents(region, place, size)) return;
  const what = `region ${region.index} of ${region.device} at 0x${place.toString(16)}+0x${size.toString(16)}`;
  throw new VfioError(
    'EINVAL',
    `${what} is no DMA target: its driver has not allowed DMA to all of these pages`,
  );
}
