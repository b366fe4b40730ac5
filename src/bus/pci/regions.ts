/*
 * The regions of a PCI function, and who answers in them: a BAR's accesses go to MSI-X where it lies, then to the
 * memory of mappable areas, then to the device's handler, then to nobody.
 */
import {
  ERRNO,
  PCI_CFG_SPACE_EXP_SIZE,
  PCI_CFG_SPACE_SIZE,
  PCI_COMMAND,
  PCI_COMMAND_MEMORY,
  VFIO_PCI_CONFIG_REGION_INDEX,
  VFIO_PCI_NUM_REGIONS,
  VFIO_PCI_ROM_REGION_INDEX,
} from '../../abi/index.ts';
import { assert, type Region, type RegionHandler, type RegionSpec } from '../../core/index.ts';
import { RegisterBlock } from '../registers.ts';
import { type RegionPart, SplitHandler, UNANSWERED } from '../split-handler.ts';
import type { Bar } from './bars.ts';
import type { ConfigSpace } from './config-space.ts';
import { romSize } from './header.ts';
import type { PciDeviceSpec } from './spec.ts';

/** 4096 bytes with PCI Express, else 256. */
export function configSize(spec: PciDeviceSpec): number {
  const express = (spec.capabilities ?? []).some((capability) => capability.type === 'express');
  return express ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
}

/** What the core is told of the function's regions; handlers come later. */
export function regionSpecsOf(spec: PciDeviceSpec, bars: readonly Bar[]): RegionSpec[] {
  const regions: RegionSpec[] = bars.map((bar) => ({
    index: bar.index,
    name: `BAR${bar.index}`,
    sizeBytes: bar.spec.sizeBytes,
    areas: bar.areas,
  }));
  if (spec.rom !== undefined) {
    regions.push({ index: VFIO_PCI_ROM_REGION_INDEX, name: 'ROM', sizeBytes: romSize(spec), write: false });
  }
  regions.push({ index: VFIO_PCI_CONFIG_REGION_INDEX, name: 'config', sizeBytes: configSize(spec) });
  for (const extra of spec.extraRegions ?? []) {
    const known = extra.index >= VFIO_PCI_NUM_REGIONS && extra.type !== undefined;
    assert(known, `${spec.name}: extra region ${extra.index} needs an index from 9 on and a type`);
    regions.push(extra);
  }
  return regions;
}

/** The handler of a BAR's region. `overlays` lie over everything else; null: the core's answer will do. */
export function barHandler(
  region: Region,
  bar: Bar,
  own: RegionHandler | null,
  overlays: readonly RegionPart[],
): RegionHandler | null {
  const name = `${region.device.name}, BAR${bar.index}`;
  if (own instanceof RegisterBlock) checkBlock(name, bar, own, overlays);
  const mapped = own === null ? [] : bar.areas.map(({ offset, size }) => memoryPart(region, offset, size));
  const unreached = mapped.some((part) => part.sizeBytes === bar.spec.sizeBytes);
  assert(!unreached, `${name}: all of it is mappable, so its handler would see no access`);
  if (overlays.length + mapped.length === 0) return own;
  const rest = own ?? (bar.areas.length > 0 ? memoryPart(region, 0, bar.spec.sizeBytes).handler : UNANSWERED);
  return new SplitHandler([...overlays, ...mapped], rest);
}

/** The ROM follows memory decode as BARs do, though its region is none of them (R5). */
export function romHandler(rom: Uint8Array, config: ConfigSpace): RegionHandler {
  return {
    read: (offset, count, view, at) => {
      if ((config.get16(PCI_COMMAND) & PCI_COMMAND_MEMORY) === 0) return ERRNO.EIO;
      for (let i = 0; i < count; i++) view.setUint8(at + i, rom[offset + i] ?? 0xff);
      return 0;
    },
    write: () => 0,
  };
}

function memoryPart(region: Region, offset: number, sizeBytes: number): RegionPart {
  const handler: RegionHandler = {
    read: (from, count, view, at) => region.readMemory(from, count, view, at),
    write: (from, count, view, at) => region.writeMemory(from, count, view, at),
  };
  return { offset, sizeBytes, handler };
}

function checkBlock(name: string, bar: Bar, block: RegisterBlock, parts: readonly RegionPart[]): void {
  const { sizeBytes } = bar.spec;
  assert(
    block.sizeBytes <= sizeBytes,
    `${name}: registers end at ${block.sizeBytes}, beyond BAR${bar.index}`,
  );
  for (const part of [...parts, ...bar.areas.map(({ offset, size }) => ({ offset, sizeBytes: size }))]) {
    const hidden = block.nameIn(part.offset, part.sizeBytes);
    assert(hidden === null, `${name}: register ${hidden} lies under MSI-X or a mappable area, out of reach`);
  }
}
