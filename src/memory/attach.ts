/*
 * Gives a device live memory: a memfd behind each mappable region, known to the registry, with a VMA in the device's
 * address space that stands for whoever holds the fd. No process tells us when it maps an fd, so there is one VMA for
 * all of them: what `unmapMappingRange` takes away from it, it takes away from every process.
 *
 * The memory outlives the instance of the device that it was made for: when another takes over, the files stay, and
 * whoever maps them notices nothing. So nothing here keeps a device or a region, but asks the attachment for them.
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
  readonly registry: RegionRegistry;
  /** The instance that has the memory now. */
  device: VfioDevice;
  users: number;
  readonly lostListeners: Set<(region: Region) => void>;
  /** Files by region index, as they are registered. */
  readonly keys: Map<number, FileKey>;
  readonly undos: (() => void)[];
  /** Ends the subscriptions to the device. */
  forget: () => void;
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
    attachments.delete(attachment.device);
    undo(attachment);
  };
}

function attach(device: VfioDevice, sys: SysLayer, registry: RegionRegistry): Attachment {
  if (device.released) {
    throw new VfioError('ENODEV', `${device.name} was released, which is final; make a new device`);
  }
  const attachment: Attachment = {
    sys,
    registry,
    device,
    users: 0,
    lostListeners: new Set(),
    keys: new Map(),
    undos: [],
    forget: () => {},
  };
  const holders = new Map<Vma, number>();
  attachment.undos.push(zapWith(attachment, holders));
  try {
    for (const region of device.regions.values()) {
      if (!region.mappable) continue;
      attachRegion(attachment, region);
      attachment.undos.push(insertHolders(attachment, region, holders));
    }
    follow(attachment);
  } catch (error) {
    undo(attachment);
    throw error;
  }
  return attachment;
}

function undo(attachment: Attachment): void {
  const errors: unknown[] = [];
  attachment.forget();
  for (const step of attachment.undos.reverse()) attempt(step, errors);
  rethrow(errors, `detaching the memory of ${attachment.device.name}`);
}

function attachRegion(attachment: Attachment, { index, sizeBytes }: Region): void {
  const { sys, registry, keys, lostListeners } = attachment;
  const region = (): Region => attachment.device.region(index);
  assert(region().memory === null, `${region().name} of ${region().device.name} has other memory already`);
  const memory = new LiveRegionMemory(sys, {
    index,
    sizeBytes,
    name: () => encodeRegionName(attachment.device.name, region()),
    onFile: (now, before) => {
      registry.remove(before);
      registry.add(now, region());
      keys.set(index, now);
    },
    onLost: () => {
      for (const listener of lostListeners) listener(region());
    },
  });
  keys.set(index, memory.identity);
  registry.add(memory.identity, region());
  region().memory = memory;
  attachment.undos.push(() => {
    registry.remove(keys.get(index)!);
    memory.release();
    region().memory = null;
  });
}

/** Goes with the device: to the instance that takes over, and out of the registry when it is released. */
function follow(attachment: Attachment): void {
  const { device, registry, keys } = attachment;
  const subscriptions = [
    device.on('release', () => {
      for (const key of keys.values()) registry.remove(key);
    }),
    device.on('replace', ({ device: next }) => moveTo(attachment, next)),
  ];
  attachment.forget = () => {
    for (const unsubscribe of subscriptions) unsubscribe();
  };
}

function moveTo(attachment: Attachment, next: VfioDevice): void {
  attachments.delete(attachment.device);
  attachments.set(next, attachment);
  attachment.forget();
  attachment.device = next;
  follow(attachment);
  for (const [index, key] of attachment.keys) {
    const region = next.region(index);
    attachment.registry.add(key, region);
    // Views of the instance before would still show the memory.
    if (region.memory instanceof LiveRegionMemory) region.memory.forgetViews();
  }
}

/** One VMA for every mapping that anybody makes of the region's fd. */
function insertHolders(
  attachment: Attachment,
  { index, name, sizeBytes, offset }: Region,
  holders: Map<Vma, number>,
): () => void {
  const { addressSpace, file } = attachment.device;
  const vma = new Vma({
    file,
    process: `holders of the fd of ${name}`,
    start: 0, // each maps it where it likes
    sizeBytes: pageCeil(sizeBytes),
    pgoff: offsetToPgoff(offset),
  });
  holders.set(vma, index);
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
function zapWith(attachment: Attachment, holders: ReadonlyMap<Vma, number>): () => void {
  const { addressSpace } = attachment.device;
  const before = addressSpace.onZap;
  const port: ZapPort = (vma, start, length) => {
    before?.(vma, start, length);
    const index = holders.get(vma);
    if (index === undefined || attachment.device.released) return;
    const region = attachment.device.region(index);
    if (region.blockers.length > 0) region.memory?.suspend();
  };
  addressSpace.onZap = port;
  return () => {
    if (addressSpace.onZap === port) addressSpace.onZap = before;
  };
}
