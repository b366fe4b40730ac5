/*
 * Gives a device live memory: a memfd behind each mappable region, known to the registry, with a VMA in the device's
 * address space that stands for whoever holds the fd. No process tells us when it maps an fd, so there is one VMA for
 * all of them: what `unmapMappingRange` takes away from it, it takes away from every process.
 */
import {
  assert,
  attempt,
  offsetToPgoff,
  type Region,
  rethrow,
  type VfioDevice,
  VfioError,
  Vma,
  type ZapPort,
} from '../core/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import { encodeRegionName } from './consent-name.ts';
import { LiveRegionMemory } from './live-region.ts';
import { type FileKey, RegionRegistry } from './registry.ts';
import { pageCeil } from './window.ts';

/** What may be set when a device gets its memory. */
export interface AttachOptions {
  /** Where the regions' files are registered; the one of all devices over `sys` unless said otherwise. */
  readonly registry?: RegionRegistry;
  /** A client truncated the region's file (or memory ran out): what was lost reads as zeros now. */
  readonly onLost?: (region: Region) => void;
}

interface Attachment {
  readonly sys: SysLayer;
  users: number;
  readonly lostListeners: Set<(region: Region) => void>;
  readonly undo: () => void;
}

const attachments = new WeakMap<VfioDevice, Attachment>();

/**
 * Attaches live memory to every mappable region of `device`. Returns the detach, to be called once. A device that has
 * live memory already (a second server, a client in the same process) shares it, and it goes with the last detach: then
 * the regions' contents are gone and clients that still map them get SIGBUS. ENODEV if the device was released.
 */
export function attachMemory(device: VfioDevice, sys: SysLayer, options: AttachOptions = {}): () => void {
  const attachment =
    attachments.get(device) ?? attach(device, sys, options.registry ?? RegionRegistry.of(sys));
  assert(attachment.sys === sys, `${device.name} has its memory from another system layer`);
  attachments.set(device, attachment);
  attachment.users += 1;
  const { onLost } = options;
  const listener = onLost === undefined ? null : (region: Region) => onLost(region);
  if (listener !== null) attachment.lostListeners.add(listener);
  let attached = true;
  return () => {
    if (!attached) return;
    attached = false;
    if (listener !== null) attachment.lostListeners.delete(listener);
    attachment.users -= 1;
    if (attachment.users > 0) return;
    attachments.delete(device);
    attachment.undo();
  };
}

function attach(device: VfioDevice, sys: SysLayer, registry: RegionRegistry): Attachment {
  if (device.released) {
    throw new VfioError('ENODEV', `${device.name} was released, which is final; make a new device`);
  }
  const lostListeners = new Set<(region: Region) => void>();
  const holders = new Map<Vma, Region>();
  const undos: (() => void)[] = [zapWith(device, holders)];
  const undo = (): void => {
    const errors: unknown[] = [];
    for (const step of undos.reverse()) attempt(step, errors);
    rethrow(errors, `detaching the memory of ${device.name}`);
  };
  try {
    for (const region of device.regions.values()) {
      if (!region.mappable) continue;
      undos.push(attachRegion(region, sys, registry, lostListeners));
      undos.push(insertHolders(region, holders));
    }
  } catch (error) {
    undo();
    throw error;
  }
  return { sys, users: 0, lostListeners, undo };
}

function attachRegion(
  region: Region,
  sys: SysLayer,
  registry: RegionRegistry,
  lostListeners: ReadonlySet<(region: Region) => void>,
): () => void {
  assert(region.memory === null, `${region.name} of ${region.device.name} has other memory already`);
  const memory = new LiveRegionMemory(sys, {
    index: region.index,
    sizeBytes: region.sizeBytes,
    name: () => encodeRegionName(region.device.name, region),
    onFile: (now, before) => {
      registry.remove(before);
      registry.add(now, region);
      key = now;
    },
    onLost: () => {
      for (const listener of lostListeners) listener(region);
    },
  });
  let key: FileKey = memory.identity;
  registry.add(key, region);
  const forget = region.device.on('release', () => registry.remove(key));
  region.memory = memory;
  return () => {
    forget();
    registry.remove(key);
    memory.release();
    region.memory = null;
  };
}

/** One VMA for every mapping that anybody makes of the region's fd. */
function insertHolders(region: Region, holders: Map<Vma, Region>): () => void {
  const { addressSpace, file } = region.device;
  const vma = new Vma({
    file,
    process: `holders of the fd of ${region.name}`,
    start: 0, // each maps it where it likes
    sizeBytes: pageCeil(region.sizeBytes),
    pgoff: offsetToPgoff(region.offset),
  });
  holders.set(vma, region);
  addressSpace.insert(vma);
  return () => {
    addressSpace.remove(vma);
    holders.delete(vma);
  };
}

/**
 * The zap port: whoever holds the fd loses the region, if it cannot be reached now. A zap of a region that can be
 * reached is nothing: it would fault in again with the next touch.
 */
function zapWith(device: VfioDevice, holders: ReadonlyMap<Vma, Region>): () => void {
  const { addressSpace } = device;
  const before = addressSpace.onZap;
  const port: ZapPort = (vma, start, length) => {
    before?.(vma, start, length);
    const region = holders.get(vma);
    if (region !== undefined && !device.released && region.blockers.length > 0) region.memory?.suspend();
  };
  addressSpace.onZap = port;
  return () => {
    if (addressSpace.onZap === port) addressSpace.onZap = before;
  };
}
