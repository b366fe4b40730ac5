/*
 * The regions of a PCI function: BARs, ROM, config space, and what lies beyond.
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
import { assert, type RegionHandler, type RegionSpec } from '../../core/index.ts';
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
