/*
 * The two capability chains: standard capabilities from 0x40 on, extended ones from 0x100 on, each placed behind the
 * one before it and linked. Order is the author's; offsets and links are computed.
 */
import {
  PCI_CAP_FLAGS,
  PCI_CAP_ID_VNDR,
  PCI_CAP_LIST_NEXT,
  PCI_CAPABILITY_LIST,
  PCI_CFG_SPACE_SIZE,
  PCI_EXT_CAP_DSN_SIZEOF,
  PCI_EXT_CAP_ID_DSN,
  PCI_EXT_CAP_ID_VNDR,
  PCI_STATUS,
  PCI_STATUS_CAP_LIST,
  PCI_STD_HEADER_SIZEOF,
  PCI_VNDR_HEADER,
} from '../../abi/index.ts';
import { assert } from '../../core/index.ts';
import { ConfigImage, type ConfigSpace } from './config-space.ts';
import { expressImage } from './express.ts';
import { msiImage } from './msi.ts';
import { msixImage } from './msix.ts';
import { powerManagementImage } from './power-management.ts';
import type { CapabilitySpec, ExtendedCapabilitySpec, PciDeviceSpec } from './spec.ts';

/** Header of a vendor-specific capability: id, next, length. */
const VENDOR_HEADER = 3;
/** Header of an unknown capability: id and next. */
const RAW_HEADER = 2;
/** Both headers of a VSEC: the extended capability's and its own. */
const VSEC_HEADERS = 8;
const EXTENDED_HEADER = 4;
/** Fields of an extended capability's header: id 15:0, version 19:16, next 31:20. */
const EXTENDED_VERSION_SHIFT = 16;
const EXTENDED_NEXT_SHIFT = 20;
/** Fields of a VSEC header: id 15:0, revision 19:16, length 31:20. */
const VSEC_REVISION_SHIFT = 16;
const VSEC_LENGTH_SHIFT = 20;

/** The finished chains: where each declared capability lies. */
export type CapabilityOffsets = ReadonlyMap<CapabilitySpec | ExtendedCapabilitySpec, number>;

/** Places and links all capabilities of a function. The header is defined already. */
export function placeCapabilities(config: ConfigSpace, spec: PciDeviceSpec): CapabilityOffsets {
  const offsets = new Map<CapabilitySpec | ExtendedCapabilitySpec, number>();
  placeStandard(config, spec.capabilities ?? [], offsets);
  placeExtended(config, spec, offsets);
  return offsets;
}

function placeStandard(
  config: ConfigSpace,
  capabilities: readonly CapabilitySpec[],
  offsets: Map<CapabilitySpec | ExtendedCapabilitySpec, number>,
): void {
  for (const type of ['power-management', 'msi', 'msix', 'express']) {
    const count = capabilities.filter((capability) => capability.type === type).length;
    assert(count <= 1, `a function has one '${type}' capability, not ${count}`);
  }
  let link = PCI_CAPABILITY_LIST;
  let at = PCI_STD_HEADER_SIZEOF;
  for (const capability of capabilities) {
    const image = imageOf(capability);
    const end = at + image.bytes.length;
    assert(
      end <= PCI_CFG_SPACE_SIZE,
      `capability '${capability.type}' ends at 0x${end.toString(16)}; 0x100 is the end`,
    );
    config.define(at, image, isKept(capability));
    config.patch8(link, at);
    offsets.set(capability, at);
    if (capability.type === 'vendor' && capability.onWrite !== undefined) {
      watchData(config, at + VENDOR_HEADER, capability.data.length, capability.onWrite);
    }
    link = at + PCI_CAP_LIST_NEXT;
    at = alignToDoubleword(end);
  }
  if (capabilities.length > 0) config.patch8(PCI_STATUS, config.get8(PCI_STATUS) | PCI_STATUS_CAP_LIST);
}

function placeExtended(
  config: ConfigSpace,
  spec: PciDeviceSpec,
  offsets: Map<CapabilitySpec | ExtendedCapabilitySpec, number>,
): void {
  const chain: { image: ConfigImage; declared: ExtendedCapabilitySpec | null }[] = [];
  if (spec.serialNumber !== undefined)
    chain.push({ image: serialNumberImage(spec.serialNumber), declared: null });
  for (const declared of spec.extendedCapabilities ?? [])
    chain.push({ image: extendedImage(declared), declared });
  const express = (spec.capabilities ?? []).some((capability) => capability.type === 'express');
  assert(
    chain.length === 0 || express,
    "a serial number and extended capabilities need the 'express' capability: without it config space is 256 bytes",
  );
  let at = PCI_CFG_SPACE_SIZE;
  let previous = 0;
  for (const { image, declared } of chain) {
    config.define(at, image, false);
    if (previous !== 0)
      config.patch32(previous, (config.get32(previous) | (at << EXTENDED_NEXT_SHIFT)) >>> 0);
    if (declared !== null) offsets.set(declared, at);
    if (declared?.type === 'vendor-extended' && declared.onWrite !== undefined) {
      watchData(config, at + VSEC_HEADERS, declared.data.length, declared.onWrite);
    }
    previous = at;
    at = alignToDoubleword(at + image.bytes.length);
  }
}

function imageOf(capability: CapabilitySpec): ConfigImage {
  switch (capability.type) {
    case 'power-management':
      return powerManagementImage(capability);
    case 'msi':
      return msiImage(capability);
    case 'msix':
      return msixImage(capability);
    case 'express':
      return expressImage(capability);
    case 'vendor': {
      const image = dataImage('vendor', VENDOR_HEADER, capability.data, capability.writable);
      assert(
        image.bytes.length <= 0xff,
        `vendor capability of ${image.bytes.length} bytes; its length field ends at 255`,
      );
      return image.u8(0, PCI_CAP_ID_VNDR).u8(PCI_CAP_FLAGS, image.bytes.length);
    }
    case 'raw':
      return dataImage('raw', RAW_HEADER, capability.data, capability.writable).u8(0, capability.id);
  }
}

function extendedImage(capability: ExtendedCapabilitySpec): ConfigImage {
  if (capability.type === 'raw-extended') {
    const image = dataImage('raw-extended', EXTENDED_HEADER, capability.data, capability.writable);
    return image.u32(0, extendedHeader(capability.id, capability.version));
  }
  const image = dataImage('vendor-extended', VSEC_HEADERS, capability.data, capability.writable);
  const { id, revision = 0 } = capability;
  assert(
    id >= 0 && id <= 0xffff && revision >= 0 && revision <= 0xf,
    `VSEC id ${id} revision ${revision} do not fit`,
  );
  const length = image.bytes.length;
  return image
    .u32(0, extendedHeader(PCI_EXT_CAP_ID_VNDR, 1))
    .u32(PCI_VNDR_HEADER, id | (revision << VSEC_REVISION_SHIFT) | (length << VSEC_LENGTH_SHIFT));
}

function serialNumberImage(serialNumber: bigint): ConfigImage {
  assert(serialNumber >= 0n && serialNumber < 2n ** 64n, `serial number ${serialNumber} is not 64 bits`);
  return new ConfigImage(PCI_EXT_CAP_DSN_SIZEOF)
    .u32(0, extendedHeader(PCI_EXT_CAP_ID_DSN, 1))
    .u32(4, Number(serialNumber & 0xffff_ffffn))
    .u32(8, Number(serialNumber >> 32n));
}

function extendedHeader(id: number, version: number): number {
  assert(
    id > 0 && id <= 0xffff && version >= 0 && version <= 0xf,
    `extended capability ${id} version ${version}`,
  );
  return id | (version << EXTENDED_VERSION_SHIFT);
}

/** Author's bytes behind a header of `header` bytes. */
function dataImage(
  what: string,
  header: number,
  data: Uint8Array,
  writable: Uint8Array | undefined,
): ConfigImage {
  assert(
    writable === undefined || writable.length === data.length,
    `${what} capability: data has ${data.length} bytes, writable ${writable?.length}; they are one mask for the other`,
  );
  const image = new ConfigImage(header + data.length);
  image.bytes.set(data, header);
  if (writable !== undefined) image.writable.set(writable, header);
  return image;
}

function watchData(config: ConfigSpace, at: number, size: number, onWrite: (data: Uint8Array) => void): void {
  config.onWrite(at, size, () => onWrite(config.dump().slice(at, at + size)));
}

/** The kernel saves the interrupt and link controls before a device reset and writes them back after it. */
function isKept(capability: CapabilitySpec): boolean {
  return capability.type === 'msi' || capability.type === 'msix' || capability.type === 'express';
}

function alignToDoubleword(at: number): number {
  return (at + 3) & ~3;
}
