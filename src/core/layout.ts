/*
 * What a client asks once and then relies on: regions with their sizes and mappable areas, interrupt indexes with their
 * vectors. A device that takes another's place under a client must have the same; where it differs is said here.
 */
import type { VfioDevice } from './device.ts';
import type { Irq } from './irq.ts';
import type { Region } from './region.ts';

/** What is different in `next`, one phrase each; empty if a client could not tell them apart. */
export function layoutDifferences(old: VfioDevice, next: VfioDevice): string[] {
  const found: string[] = [];
  compare(found, 'the kind of device', old.kind, next.kind);
  compare(found, 'the API of the device', old.api, next.api);
  compare(found, 'whether it can be reset', old.resettable, next.resettable);
  const indexes = new Set([...old.regions.keys(), ...next.regions.keys()]);
  for (const index of [...indexes].sort((a, b) => a - b)) {
    compareRegions(found, old.regions.get(index), next.regions.get(index));
  }
  for (let index = 0; index < Math.max(old.irqs.length, next.irqs.length); index++) {
    compareIrqs(found, index, old.irqs[index], next.irqs[index]);
  }
  return found;
}

function compareRegions(found: string[], old: Region | undefined, next: Region | undefined): void {
  if (old === undefined || next === undefined) {
    const region = (old ?? next)!;
    found.push(`${nameOf(region)} is ${old === undefined ? 'new' : 'gone'}`);
    return;
  }
  const name = nameOf(old);
  compare(found, `size of ${name}`, old.sizeBytes, next.sizeBytes);
  compare(found, `mappable areas of ${name}`, areasOf(old), areasOf(next));
  compare(found, `flags of ${name}`, old.flags, next.flags);
  compare(found, `type of ${name}`, typeOf(old), typeOf(next));
}

function compareIrqs(found: string[], index: number, old: Irq | undefined, next: Irq | undefined): void {
  compare(found, `vectors of interrupt index ${index}`, old?.count ?? 0, next?.count ?? 0);
  compare(found, `flags of interrupt index ${index}`, old?.flags ?? 0, next?.flags ?? 0);
}

function compare(found: string[], what: string, old: unknown, next: unknown): void {
  if (old !== next) found.push(`${what}: ${old} before, ${next} now`);
}

function nameOf({ index, name }: Region): string {
  return `region ${index} (${name})`;
}

function areasOf({ areas }: Region): string {
  return (
    areas.map(({ offset, size }) => `0x${offset.toString(16)}+0x${size.toString(16)}`).join(' ') || 'none'
  );
}

function typeOf({ type }: Region): string {
  return type === null ? 'none' : `${type.type}.${type.subtype}`;
}
