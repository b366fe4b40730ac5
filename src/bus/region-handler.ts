/*
 * Who answers in a region that may be partly memory: what lies over it first (an MSI-X table), then the memory of its
 * mappable areas, then the device's handler, then nobody. A handler that no access would reach is a mistake of the
 * device's author and is refused.
 */
import { assert, type Region, type RegionHandler } from '../core/index.ts';
import { RegisterBlock } from './registers.ts';
import { type RegionPart, SplitHandler, UNANSWERED } from './split-handler.ts';

/** The handler of a region. `overlays` lie over everything else; null: the core's answer will do. */
export function regionHandler(
  region: Region,
  own: RegionHandler | null,
  overlays: readonly RegionPart[] = [],
): RegionHandler | null {
  const { areas, sizeBytes } = region;
  const name = `${region.device.name}, ${region.name}`;
  if (own instanceof RegisterBlock) checkBlock(name, region, own, overlays);
  const mapped = own === null ? [] : areas.map(({ offset, size }) => memoryPart(region, offset, size));
  const unreached = mapped.some((part) => part.sizeBytes === sizeBytes);
  assert(!unreached, `${name}: all of it is mappable, so its handler would see no access`);
  if (overlays.length + mapped.length === 0) return own;
  const rest = own ?? (areas.length > 0 ? memoryPart(region, 0, sizeBytes).handler : UNANSWERED);
  return new SplitHandler([...overlays, ...mapped], rest);
}

function memoryPart(region: Region, offset: number, sizeBytes: number): RegionPart {
  const handler: RegionHandler = {
    read: (from, count, view, at) => region.readMemory(from, count, view, at),
    write: (from, count, view, at) => region.writeMemory(from, count, view, at),
  };
  return { offset, sizeBytes, handler };
}

function checkBlock(name: string, region: Region, block: RegisterBlock, parts: readonly RegionPart[]): void {
  assert(
    block.sizeBytes <= region.sizeBytes,
    `${name}: registers end at ${block.sizeBytes}, beyond ${region.name}`,
  );
  for (const part of [...parts, ...region.areas.map(({ offset, size }) => ({ offset, sizeBytes: size }))]) {
    const hidden = block.nameIn(part.offset, part.sizeBytes);
    assert(hidden === null, `${name}: register ${hidden} lies under MSI-X or a mappable area, out of reach`);
  }
}
