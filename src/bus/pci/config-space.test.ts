/*
 * Config space by its masks: every register of a function that has everything, written with ones and with zeros, by
 * whole and by byte. The expected bits are those of the PCI and PCI Express specifications, given as
 * [name, offset, width, power-on, after ones, after zeros].
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConfigImage, ConfigSpace, PciDevice, type PciDeviceSpec } from './index.ts';
import { readConfig, writeConfig } from './testing.ts';

const EVERYTHING: PciDeviceSpec = {
  name: 'everything',
  vendorId: 0x1234,
  deviceId: 0x5678,
  subsystemVendorId: 0xabcd,
  subsystemId: 0xef01,
  classCode: 0x01_08_02,
  revisionId: 0x3c,
  interruptPin: 2,
  bars: {
    0: { type: 'mem64', sizeBytes: 2 ** 33, prefetchable: true },
    2: { type: 'mem32', sizeBytes: 0x4000 },
    3: { type: 'io', sizeBytes: 0x20 },
    4: { type: 'mem64', sizeBytes: 2 ** 20 },
  },
  rom: new Uint8Array(3000),
  capabilities: [
    { type: 'power-management', pme: true },
    { type: 'msi', vectors: 8, maskable: true },
    { type: 'msix', vectors: 16, bar: 2, tableOffset: 0x1000, pbaOffset: 0x2000 },
    { type: 'express' },
    { type: 'vendor', data: Uint8Array.of(1, 2, 3, 4), writable: Uint8Array.of(0xff, 0, 0x0f, 0) },
    { type: 'raw', id: 0x13, data: Uint8Array.of(6, 3, 0, 0), writable: Uint8Array.of(0, 0, 1, 0) },
  ],
  serialNumber: 0x0102_0304_0506_0708n,
  extendedCapabilities: [
    {
      type: 'vendor-extended',
      id: 0x1af,
      revision: 2,
      data: new Uint8Array(8),
      writable: new Uint8Array(8).fill(0xf0),
    },
    { type: 'raw-extended', id: 0x0e, version: 1, data: new Uint8Array(4) },
  ],
};

// Where the capabilities come to lie: each behind the one before, at the next multiple of 4.
const PM = 0x40;
const MSI = PM + 8;
const MSIX = MSI + 24;
const EXP = MSIX + 12;
const VNDR = EXP + 60;
const RAW = VNDR + 8;

type Row = [name: string, offset: number, width: number, powerOn: number, ones: number, zeros: number];

const HEADER: Row[] = [
  ['VENDOR_ID', 0x00, 2, 0x1234, 0x1234, 0x1234],
  ['DEVICE_ID', 0x02, 2, 0x5678, 0x5678, 0x5678],
  ['COMMAND: I/O, memory, master, parity, SERR, INTx disable', 0x04, 2, 0, 0x0547, 0],
  ['STATUS: capability list', 0x06, 2, 0x0010, 0x0010, 0x0010],
  ['REVISION and CLASS', 0x08, 4, 0x0108_023c, 0x0108_023c, 0x0108_023c],
  ['CACHE_LINE_SIZE', 0x0c, 1, 0, 0xff, 0],
  ['LATENCY_TIMER of an Express function', 0x0d, 1, 0, 0, 0],
  ['HEADER_TYPE', 0x0e, 1, 0, 0, 0],
  ['BIST', 0x0f, 1, 0, 0, 0],
  ['BAR0, 8 GiB 64-bit prefetchable', 0x10, 4, 0x0c, 0x0c, 0x0c],
  ['BAR0, upper half', 0x14, 4, 0, 0xffff_fffe, 0],
  ['BAR2, 16 KiB', 0x18, 4, 0, 0xffff_c000, 0],
  ['BAR3, 32 bytes of I/O', 0x1c, 4, 1, 0xffff_ffe1, 1],
  ['BAR4, 1 MiB 64-bit', 0x20, 4, 4, 0xfff0_0004, 4],
  ['BAR4, upper half', 0x24, 4, 0, 0xffff_ffff, 0],
  ['CARDBUS_CIS', 0x28, 4, 0, 0, 0],
  ['SUBSYSTEM', 0x2c, 4, 0xef01_abcd, 0xef01_abcd, 0xef01_abcd],
  ['ROM_ADDRESS, 4 KiB', 0x30, 4, 0, 0xffff_f001, 0],
  ['CAPABILITY_LIST', 0x34, 1, PM, PM, PM],
  ['reserved', 0x35, 1, 0, 0, 0],
  ['reserved', 0x38, 4, 0, 0, 0],
  ['INTERRUPT_LINE', 0x3c, 1, 0, 0xff, 0],
  ['INTERRUPT_PIN', 0x3d, 1, 2, 2, 2],
  ['MIN_GNT, MAX_LAT', 0x3e, 2, 0, 0, 0],
];

const CAPABILITIES: Row[] = [
  ['PM header', PM, 2, (MSI << 8) | 0x01, (MSI << 8) | 0x01, (MSI << 8) | 0x01],
  ['PMC: version 3, PME from D0 and D3hot', PM + 2, 2, 0x4803, 0x4803, 0x4803],
  ['PMCSR: state, No_Soft_Reset, PME_En', PM + 4, 2, 0x0008, 0x010b, 0x0008],
  ['PM bridge extensions and data', PM + 6, 2, 0, 0, 0],
  ['MSI header', MSI, 2, (MSIX << 8) | 0x05, (MSIX << 8) | 0x05, (MSIX << 8) | 0x05],
  ['MSI control: 8 vectors, 64 bits, maskable', MSI + 2, 2, 0x0186, 0x01f7, 0x0186],
  ['MSI address', MSI + 4, 4, 0, 0xffff_fffc, 0],
  ['MSI upper address', MSI + 8, 4, 0, 0xffff_ffff, 0],
  ['MSI data', MSI + 0xc, 2, 0, 0xffff, 0],
  ['MSI extended data', MSI + 0xe, 2, 0, 0, 0],
  ['MSI mask', MSI + 0x10, 4, 0, 0xff, 0],
  ['MSI pending', MSI + 0x14, 4, 0, 0, 0],
  ['MSI-X header', MSIX, 2, (EXP << 8) | 0x11, (EXP << 8) | 0x11, (EXP << 8) | 0x11],
  ['MSI-X control: 16 vectors', MSIX + 2, 2, 0x000f, 0xc00f, 0x000f],
  ['MSI-X table in BAR2', MSIX + 4, 4, 0x1002, 0x1002, 0x1002],
  ['MSI-X PBA in BAR2', MSIX + 8, 4, 0x2002, 0x2002, 0x2002],
  ['Express header', EXP, 2, (VNDR << 8) | 0x10, (VNDR << 8) | 0x10, (VNDR << 8) | 0x10],
  ['Express capabilities: version 2 endpoint', EXP + 2, 2, 0x0002, 0x0002, 0x0002],
  ['DEVCAP: extended tag, role-based errors, FLR', EXP + 4, 4, 0x1000_8020, 0x1000_8020, 0x1000_8020],
  ['DEVSTA', EXP + 0xa, 2, 0, 0, 0],
  ['LNKCAP: 2.5 GT/s, x1', EXP + 0xc, 4, 0x0040_0011, 0x0040_0011, 0x0040_0011],
  ['LNKCTL: ASPM, RCB, common clock, extended synch', EXP + 0x10, 2, 0, 0x00cb, 0],
  ['LNKSTA: 2.5 GT/s, x1', EXP + 0x12, 2, 0x0011, 0x0011, 0x0011],
  ['slot and root registers', EXP + 0x14, 4, 0, 0, 0],
  ['DEVCAP2: completion timeout disable', EXP + 0x24, 4, 0x10, 0x10, 0x10],
  ['DEVCTL2', EXP + 0x28, 2, 0, 0x10, 0],
  ['LNKCAP2: 2.5 GT/s', EXP + 0x2c, 4, 0x2, 0x2, 0x2],
  ['LNKCTL2: target speed', EXP + 0x30, 2, 0x1, 0xf, 0],
  [
    'vendor header and length',
    VNDR,
    3,
    (7 << 16) | (RAW << 8) | 0x09,
    (7 << 16) | (RAW << 8) | 0x09,
    (7 << 16) | (RAW << 8) | 0x09,
  ],
  ['vendor data', VNDR + 3, 4, 0x0403_0201, 0x040f_02ff, 0x0400_0200],
  ['unknown capability', RAW, 4, 0x0306_0013, 0x0306_0013, 0x0306_0013],
  ['unknown capability, its writable bit', RAW + 4, 2, 0, 1, 0],
  ['serial number header', 0x100, 4, 0x10c1_0003, 0x10c1_0003, 0x10c1_0003],
  ['serial number, lower half', 0x104, 4, 0x0506_0708, 0x0506_0708, 0x0506_0708],
  ['serial number, upper half', 0x108, 4, 0x0102_0304, 0x0102_0304, 0x0102_0304],
  ['VSEC header', 0x10c, 4, 0x11c1_000b, 0x11c1_000b, 0x11c1_000b],
  ['VSEC id, revision, length 16', 0x110, 4, 0x0102_01af, 0x0102_01af, 0x0102_01af],
  ['VSEC data', 0x114, 4, 0, 0xf0f0_f0f0, 0],
  ['last extended capability', 0x11c, 4, 0x0001_000e, 0x0001_000e, 0x0001_000e],
  ['nothing', 0x124, 4, 0, 0, 0],
  ['the last word', 0xffc, 4, 0, 0, 0],
];

function hex(value: number, width: number): string {
  const bytes = Array.from({ length: width }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256);
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

describe.each([
  ['header', HEADER],
  ['capabilities', CAPABILITIES],
])('masks of the %s', (_, rows) => {
  test.each(rows)('%s at %i', (_name, offset, width, powerOn, ones, zeros) => {
    const device = new PciDevice(EVERYTHING);
    expect(readConfig(device, offset, width)).toBe(hex(powerOn, width));
    writeConfig(device, offset, 'ff'.repeat(width));
    expect(readConfig(device, offset, width)).toBe(hex(ones, width));
    writeConfig(device, offset, '00'.repeat(width));
    expect(readConfig(device, offset, width)).toBe(hex(zeros, width));
  });

  test.each(rows)('%s at %i, byte by byte', (_name, offset, width, _powerOn, ones) => {
    const device = new PciDevice(EVERYTHING);
    for (let i = 0; i < width; i++) writeConfig(device, offset + i, 'ff');
    expect(readConfig(device, offset, width)).toBe(hex(ones, width));
  });
});

describe('DEVCTL', () => {
  test('power-on and writable bits; payload is fixed at 128 bytes', () => {
    const device = new PciDevice(EVERYTHING);
    expect(readConfig(device, EXP + 8, 2)).toBe(hex(0x2810, 2));
    writeConfig(device, EXP + 8, hex(0x7fff, 2));
    expect(readConfig(device, EXP + 8, 2)).toBe(hex(0x791f, 2));
  });
});

describe('registers that a written 1 clears', () => {
  test.each([
    ['STATUS', 0x06, 0xf910, 0x0010],
    ['DEVSTA', EXP + 0xa, 0x000f, 0x0000],
    ['PMCSR.PME_Status', PM + 4, 0x8008, 0x0008],
  ])('%s', (_, offset, set, cleared) => {
    const device = new PciDevice(EVERYTHING);
    device.config.set16(offset, set);
    writeConfig(device, offset, '0000');
    expect(device.config.get16(offset)).toBe(set);
    writeConfig(device, offset, hex(set & ~0x3, 2));
    writeConfig(device, offset, hex(offset === PM + 4 ? 0 : 0x3, 2));
    expect(device.config.get16(offset)).toBe(cleared);
  });
});

describe('writes that do not start at a register', () => {
  test('offset 5: the upper byte of COMMAND and the lower of STATUS', () => {
    const device = new PciDevice(EVERYTHING);
    device.config.set16(0x06, 0x8110);
    writeConfig(device, 0x05, '05ff');
    expect(readConfig(device, 0x04, 4)).toBe('00051081');
  });

  test('one byte of a BAR moves only that byte', () => {
    const device = new PciDevice(EVERYTHING);
    writeConfig(device, 0x18, '00c0adfe');
    writeConfig(device, 0x1a, '12');
    expect(readConfig(device, 0x18, 4)).toBe('00c012fe');
  });

  test('4 bytes over two BARs', () => {
    const device = new PciDevice(EVERYTHING);
    writeConfig(device, 0x1a, 'adfeff01');
    expect(readConfig(device, 0x18, 8)).toBe('0000adfee1010000');
  });

  test('256 bytes at once, as QEMU reads, and 4096', () => {
    const device = new PciDevice(EVERYTHING);
    expect(readConfig(device, 0, 256).slice(0, 8)).toBe('34127856');
    expect(readConfig(device, 0, 4096)).toBe(Buffer.from(device.config.dump()).toString('hex'));
  });

  test('reads of 1, 2, 3, 4 and 8 bytes anywhere agree with the whole', () => {
    const device = new PciDevice(EVERYTHING);
    const whole = Buffer.from(device.config.dump()).toString('hex');
    for (const width of [1, 2, 3, 4, 8]) {
      for (let at = 0; at < 0x140; at++) {
        expect(readConfig(device, at, width)).toBe(whole.slice(2 * at, 2 * (at + width)));
      }
    }
  });

  test('a wide write is the same as its bytes one by one', () => {
    const writes = fc.array(
      fc.record({ at: fc.nat(EXP - 9), data: fc.uint8Array({ minLength: 1, maxLength: 9 }) }),
    );
    fc.assert(
      fc.property(writes, (sequence) => {
        const wide = new PciDevice(EVERYTHING);
        const narrow = new PciDevice(EVERYTHING);
        for (const { at, data } of sequence) {
          writeConfig(wide, at, Buffer.from(data).toString('hex'));
          data.forEach((byte, i) => {
            writeConfig(narrow, at + i, hex(byte, 1));
          });
        }
        expect(wide.config.dump()).toEqual(narrow.config.dump());
      }),
      { numRuns: 100 },
    );
  });
});

describe('the engine', () => {
  test('a hook runs once an access that touches its range, after all bytes', () => {
    const config = new ConfigSpace(256);
    config.define(0x40, new ConfigImage(8).u32(0, 0, 0xffff_ffff).u32(4, 0, 0xffff_ffff), false);
    const seen: string[] = [];
    config.onWrite(0x44, 2, () => seen.push(`B ${config.get32(0x44)}`));
    config.onWrite(0x40, 4, () => seen.push(`A ${config.get32(0x44)}`));
    const view = new DataView(new Uint8Array([1, 0, 0, 0, 2, 0, 0, 0]).buffer);
    config.write(0x40, 8, view, 0);
    config.write(0x46, 2, view, 0);
    config.write(0x43, 1, view, 0);
    expect(seen).toEqual(['A 2', 'B 2', 'A 65538']);
  });

  test('overlapping registers are a mistake', () => {
    const config = new ConfigSpace(256);
    config.define(0x40, new ConfigImage(8), false);
    expect(() => config.define(0x47, new ConfigImage(4), false)).toThrow('overlap');
    expect(() => config.define(0xfe, new ConfigImage(4), false)).toThrow('end beyond');
  });

  test('canary: masks matter', () => {
    const config = new ConfigSpace(256);
    config.define(0x40, new ConfigImage(2).u16(0, 0x00f0, 0x0f00, 0x0030), false);
    config.write(0x40, 2, new DataView(new Uint8Array([0xff, 0xff]).buffer), 0);
    expect(config.get16(0x40)).toBe(0x0fc0);
  });
});
