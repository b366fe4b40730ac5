/*
 * Config space as the tool that everybody trusts reads it: `lspci -vv` of pciutils on a dump. The expected lines are
 * what the spec literal below means in lspci's words.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PciDevice, type PciDeviceSpec } from './index.ts';
import { writeConfig } from './testing.ts';

/** Config space in the format of `lspci -xxxx`. */
function hexDump(device: PciDevice): string {
  const bytes = device.config.dump();
  const lines = ['00:00.0 dump'];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = Array.from(bytes.subarray(at, at + 16), (byte) => byte.toString(16).padStart(2, '0'));
    lines.push(`${at.toString(16).padStart(2, '0')}: ${row.join(' ')}`);
  }
  return `${lines.join('\n')}\n\n`;
}

/** Lines of lspci's report, each run of blanks as one space. */
function lspci(device: PciDevice): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-lspci-'));
  try {
    const path = join(folder, 'dump');
    writeFileSync(path, hexDump(device));
    const report = execFileSync('lspci', ['-n', '-vv', '-F', path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return report.split('\n').map((line) => line.trim().replace(/\s+/g, ' '));
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENOENT') throw error;
    throw new Error('lspci is not installed; run `apt-get install pciutils` and try again', { cause: error });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const SPEC: PciDeviceSpec = {
  name: 'golden',
  vendorId: 0x1234,
  deviceId: 0x5678,
  subsystemVendorId: 0xabcd,
  subsystemId: 0xef01,
  classCode: 0x01_08_02,
  revisionId: 3,
  interruptPin: 2,
  bars: {
    0: { type: 'mem64', sizeBytes: 0x4000 },
    2: { type: 'mem32', sizeBytes: 2 ** 20, prefetchable: true },
    3: { type: 'io', sizeBytes: 32 },
  },
  rom: new Uint8Array(4096),
  capabilities: [
    { type: 'power-management', pme: true },
    { type: 'msi', vectors: 4, maskable: true },
    { type: 'msix', vectors: 16, bar: 0, tableOffset: 0x2000, pbaOffset: 0x3000 },
    { type: 'express' },
    { type: 'vendor', data: Uint8Array.of(1, 2, 3, 4, 5) },
  ],
  serialNumber: 0x0102_0304_0506_0708n,
  extendedCapabilities: [{ type: 'vendor-extended', id: 0x1af, revision: 2, data: new Uint8Array(8) }],
};

describe('lspci reads', () => {
  test('identity, BARs, and every capability, in order and to the end of both chains', () => {
    const device = new PciDevice(SPEC);
    device.opened();
    writeConfig(device, 0x10, '0400badc12000000');
    writeConfig(device, 0x18, '000000e0');
    writeConfig(device, 0x1c, 'e1c00000');
    writeConfig(device, 0x30, '0100c0fe');
    writeConfig(device, 0x3c, '0b');
    const lines = lspci(device);
    expect(lines).toEqual(
      expect.arrayContaining([
        '00:00.0 0108: 1234:5678 (rev 03) (prog-if 02 [NVM Express])',
        'Subsystem: abcd:ef01',
        expect.stringMatching(/^Control: I\/O\+ Mem\+ BusMaster- .* DisINTx-$/),
        expect.stringMatching(/^Status: Cap\+ .* INTx-$/),
        'Interrupt: pin B routed to IRQ 11',
        'Region 0: Memory at 12dcba0000 (64-bit, non-prefetchable)',
        'Region 2: Memory at e0000000 (32-bit, prefetchable)',
        'Region 3: I/O ports at c0e0',
        'Expansion ROM at fec00000',
        'Flags: PMEClk- DSI- D1- D2- AuxCurrent=0mA PME(D0+,D1-,D2-,D3hot+,D3cold-)',
        'Status: D0 NoSoftRst+ PME-Enable- DSel=0 DScale=0 PME-',
        'Vector table: BAR=0 offset=00002000',
        'PBA: BAR=0 offset=00003000',
        expect.stringMatching(/^DevCap: MaxPayload 128 bytes, PhantFunc 0/),
        expect.stringMatching(/^ExtTag\+ AttnBtn- AttnInd- PwrInd- RBE\+ FLReset\+/),
        'RlxdOrd+ ExtTag- PhantFunc- AuxPwr- NoSnoop+ FLReset-',
        'MaxPayload 128 bytes, MaxReadReq 512 bytes',
        expect.stringMatching(/^LnkCap: Port #0, Speed 2.5GT\/s, Width x1, ASPM not supported/),
        expect.stringMatching(/^LnkSta: Speed 2.5GT\/s.*, Width x1/),
      ]),
    );
    expect(lines.filter((line) => line.startsWith('Capabilities:'))).toEqual([
      'Capabilities: [40] Power Management version 3',
      'Capabilities: [48] MSI: Enable- Count=1/4 Maskable+ 64bit+',
      'Capabilities: [60] MSI-X: Enable- Count=16 Masked-',
      expect.stringMatching(/^Capabilities: \[6c\] Express \(v2\) Endpoint, .*MSI 00$/),
      'Capabilities: [a8] Vendor Specific Information: Len=08 <?>',
      'Capabilities: [100 v1] Device Serial Number 01-02-03-04-05-06-07-08',
      'Capabilities: [10c v1] Vendor Specific Information: ID=01af Rev=2 Len=010 <?>',
    ]);
  });

  test('what a client did to it', () => {
    const device = new PciDevice(SPEC);
    device.opened();
    writeConfig(device, 0x04, '0604');
    writeConfig(device, 0x44, '0381');
    writeConfig(device, 0x4a, 'a101');
    writeConfig(device, 0x4c, '0000e0fe01000000');
    writeConfig(device, 0x54, '4140');
    writeConfig(device, 0x58, '05000000');
    writeConfig(device, 0x62, '00c0');
    writeConfig(device, 0x44, '00');
    const lines = lspci(device);
    expect(lines).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^Control: I\/O- Mem\+ BusMaster\+ .* DisINTx\+$/),
        'Status: D0 NoSoftRst+ PME-Enable+ DSel=0 DScale=0 PME-',
        'Capabilities: [48] MSI: Enable+ Count=4/4 Maskable+ 64bit+',
        'Address: 00000001fee00000 Data: 4041',
        'Masking: 00000005 Pending: 00000000',
        'Capabilities: [60] MSI-X: Enable+ Count=16 Masked+',
      ]),
    );
  });

  test('a conventional function: 256 bytes, no capabilities, and an endpoint integrated in the root complex', () => {
    const plain = new PciDevice({ name: 'plain', vendorId: 0x1234, deviceId: 0x11e8, classCode: 0x00_ff_00 });
    const lines = lspci(plain);
    expect(lines[0]).toBe('00:00.0 00ff: 1234:11e8');
    expect(lines.filter((line) => /^(Capabilities|Region|Interrupt)/.test(line))).toEqual([]);
    const integrated = new PciDevice({ ...SPEC, capabilities: [{ type: 'express', integrated: true }] });
    const found = lspci(integrated);
    expect(found.filter((line) => line.includes('Express (v2)'))).toEqual([
      expect.stringMatching(/^Capabilities: \[40\] Express \(v2\) Root Complex Integrated Endpoint/),
    ]);
    expect(found.filter((line) => line.startsWith('LnkSta:'))).toEqual([]);
  });

  test('canary: a broken chain shows', () => {
    const device = new PciDevice(SPEC);
    device.config.set8(0x41, 0x60);
    const found = lspci(device).filter((line) => line.startsWith('Capabilities:'));
    expect(found).toHaveLength(6);
    expect(found[1]).toContain('[60] MSI-X');
  });
});
