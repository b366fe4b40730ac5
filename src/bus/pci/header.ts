/*
 * The type 0 configuration header: identity, COMMAND and STATUS, BARs, ROM, interrupt pin.
 */
import {
  PCI_CACHE_LINE_SIZE,
  PCI_CLASS_DEVICE,
  PCI_CLASS_PROG,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_COMMAND_PARITY,
  PCI_COMMAND_SERR,
  PCI_DEVICE_ID,
  PCI_INTERRUPT_LINE,
  PCI_INTERRUPT_PIN,
  PCI_LATENCY_TIMER,
  PCI_REVISION_ID,
  PCI_ROM_ADDRESS,
  PCI_ROM_ADDRESS_ENABLE,
  PCI_STATUS,
  PCI_STATUS_DETECTED_PARITY,
  PCI_STATUS_PARITY,
  PCI_STATUS_REC_MASTER_ABORT,
  PCI_STATUS_REC_TARGET_ABORT,
  PCI_STATUS_SIG_SYSTEM_ERROR,
  PCI_STATUS_SIG_TARGET_ABORT,
  PCI_STD_HEADER_SIZEOF,
  PCI_SUBSYSTEM_ID,
  PCI_SUBSYSTEM_VENDOR_ID,
  PCI_VENDOR_ID,
} from '../../abi/index.ts';
import { assert } from '../../core/index.ts';
import { type Bar, defineBar } from './bars.ts';
import { ConfigImage } from './config-space.ts';
import type { PciDeviceSpec } from './spec.ts';

/** The expansion ROM register decodes at 2 KiB and up to 16 MiB. */
const ROM_SIZE_LEAST = 2048;
const ROM_SIZE_MOST = 2 ** 24;

const STATUS_ERRORS =
  PCI_STATUS_PARITY |
  PCI_STATUS_SIG_TARGET_ABORT |
  PCI_STATUS_REC_TARGET_ABORT |
  PCI_STATUS_REC_MASTER_ABORT |
  PCI_STATUS_SIG_SYSTEM_ERROR |
  PCI_STATUS_DETECTED_PARITY;

/** Size of the ROM region: the next power of two; 0 without a ROM. */
export function romSize(spec: PciDeviceSpec): number {
  if (spec.rom === undefined) return 0;
  const size = Math.max(ROM_SIZE_LEAST, 2 ** Math.ceil(Math.log2(Math.max(1, spec.rom.length))));
  assert(size <= ROM_SIZE_MOST, `${spec.name}: a ROM of ${spec.rom.length} bytes; 16 MiB fit`);
  return size;
}

/** COMMAND bits for what the function decodes: I/O and memory as there are BARs for them. */
export function decodeBits(spec: PciDeviceSpec, bars: readonly Bar[]): number {
  const io = bars.some((bar) => bar.spec.type === 'io');
  const memory = spec.rom !== undefined || bars.some((bar) => bar.spec.type !== 'io');
  return (io ? PCI_COMMAND_IO : 0) | (memory ? PCI_COMMAND_MEMORY : 0);
}

/**
 * COMMAND bits that software can change; the others are hardwired to 0. Both decode bits are there whatever BARs the
 * function has: firmware sets both without looking, and some reads them back.
 */
export const COMMAND_MASK: number =
  PCI_COMMAND_IO |
  PCI_COMMAND_MEMORY |
  PCI_COMMAND_MASTER |
  PCI_COMMAND_PARITY |
  PCI_COMMAND_SERR |
  PCI_COMMAND_INTX_DISABLE;

export function headerImage(spec: PciDeviceSpec, bars: readonly Bar[]): ConfigImage {
  checkIdentity(spec);
  const express = (spec.capabilities ?? []).some((capability) => capability.type === 'express');
  const image = new ConfigImage(PCI_STD_HEADER_SIZEOF)
    .u16(PCI_VENDOR_ID, spec.vendorId)
    .u16(PCI_DEVICE_ID, spec.deviceId)
    .u16(PCI_COMMAND, 0, COMMAND_MASK)
    .u16(PCI_STATUS, 0, 0, STATUS_ERRORS)
    .u8(PCI_REVISION_ID, spec.revisionId ?? 0)
    .u8(PCI_CLASS_PROG, spec.classCode & 0xff)
    .u16(PCI_CLASS_DEVICE, spec.classCode >>> 8)
    .u8(PCI_CACHE_LINE_SIZE, 0, 0xff)
    // Express functions hardwire the latency timer to 0.
    .u8(PCI_LATENCY_TIMER, 0, express ? 0 : 0xff)
    .u16(PCI_SUBSYSTEM_VENDOR_ID, spec.subsystemVendorId ?? spec.vendorId)
    .u16(PCI_SUBSYSTEM_ID, spec.subsystemId ?? spec.deviceId)
    .u8(PCI_INTERRUPT_LINE, 0, 0xff)
    .u8(PCI_INTERRUPT_PIN, spec.interruptPin ?? 0);
  for (const bar of bars) defineBar(image, bar);
  if (spec.rom !== undefined) image.u32(PCI_ROM_ADDRESS, 0, (-romSize(spec) | PCI_ROM_ADDRESS_ENABLE) >>> 0);
  return image;
}

function checkIdentity(spec: PciDeviceSpec): void {
  const limits = {
    vendorId: 0xffff,
    deviceId: 0xffff,
    subsystemVendorId: 0xffff,
    subsystemId: 0xffff,
    classCode: 0xff_ffff,
    revisionId: 0xff,
  } as const;
  for (const [field, limit] of Object.entries(limits) as [keyof typeof limits, number][]) {
    const value = spec[field] ?? 0;
    const fits = Number.isInteger(value) && value >= 0 && value <= limit;
    assert(fits, `${spec.name}: ${field} ${value} is not between 0 and 0x${limit.toString(16)}`);
  }
  assert(spec.vendorId !== 0xffff, `${spec.name}: vendor id 0xffff means that there is no device`);
  const pin = spec.interruptPin ?? 0;
  assert(
    Number.isInteger(pin) && pin >= 0 && pin <= 4,
    `${spec.name}: interrupt pin ${pin}; 1 to 4 are INTA to INTD`,
  );
}
