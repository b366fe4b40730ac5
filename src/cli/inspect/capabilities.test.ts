import { describe, expect, it } from 'vitest';
import { capabilities } from './capabilities.ts';

/** A config space with the capability list bit set and the list starting at 0x40. */
function configSpace(sizeBytes: number, patches: Readonly<Record<number, readonly number[]>>): Uint8Array {
  const config = new Uint8Array(sizeBytes);
  config[0x06] = 0x10;
  config[0x34] = 0x40;
  for (const [offset, bytes] of Object.entries(patches)) config.set(bytes, Number(offset));
  return config;
}

describe('capabilities', () => {
  it('reads power management', () => {
    // PMC: version 3. PMCSR: D3hot, No_Soft_Reset.
    const [found] = capabilities(configSpace(256, { 64: [0x01, 0, 0x03, 0, 0x0b, 0, 0, 0] }));
    expect(found!.fields).toEqual({ version: 3, state: 'D3', noSoftReset: true });
  });

  it('reads MSI: 64-bit, maskable, 4 of 8 vectors, enabled', () => {
    // Message control: bit 0 enable, bits 3:1 = 3 (8 capable), bits 6:4 = 2 (4 enabled), bit 7 64-bit,
    // bit 8 maskable.
    const [found] = capabilities(configSpace(256, { 64: [0x05, 0, 0xa7, 0x01] }));
    expect(found!.fields).toEqual({
      enabled: true,
      vectors: 8,
      allocated: 4,
      maskable: true,
      address64: true,
    });
    expect(found!.summary).toBe('MSI: Enable+ Count=4/8 Maskable+ 64bit+');
  });

  it('reads MSI-X: 65 vectors, table and pending bits in BAR 0', () => {
    const bytes = [0x11, 0, 0x40, 0x80, 0x00, 0x20, 0, 0, 0x04, 0x30, 0, 0];
    const [found] = capabilities(configSpace(256, { 64: bytes }));
    expect(found!.fields).toEqual({
      enabled: true,
      masked: false,
      vectors: 65,
      tableBar: 0,
      tableOffset: 0x2000,
      pbaBar: 4,
      pbaOffset: 0x3000,
    });
  });

  it('reads PCI Express with function level reset', () => {
    // Flags: version 2, endpoint. Device capabilities: bit 28.
    const [found] = capabilities(configSpace(256, { 64: [0x10, 0, 0x02, 0, 0, 0, 0, 0x10] }));
    expect(found!.fields).toEqual({ version: 2, port: 'Endpoint', functionLevelReset: true });
  });

  it('follows the list and names what it does not know', () => {
    const config = configSpace(256, { 64: [0x05, 0x60, 0x80, 0], 96: [0x09, 0x70, 0x14], 112: [0x7e, 0] });
    expect(capabilities(config).map(({ offset, name }) => [offset, name])).toEqual([
      [0x40, 'MSI'],
      [0x60, 'Vendor Specific Information'],
      [0x70, 'Capability 0x7e'],
    ]);
  });

  it('reads the extended list', () => {
    // Serial number at 0x100, next 0x140; vendor specific: id 0x5346, revision 1, length 0x18.
    const config = configSpace(4096, {
      64: [0x10, 0, 0x02, 0, 0, 0, 0, 0],
      256: [0x03, 0, 0x01, 0x14, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11],
      320: [0x0b, 0, 0x01, 0, 0x46, 0x53, 0x81, 0x01],
    });
    const [, serial, vendor] = capabilities(config);
    expect(serial!.fields).toEqual({ serial: '11-22-33-44-55-66-77-88' });
    expect(vendor!.fields).toEqual({ vendorId: 0x5346, revision: 1, lengthBytes: 0x18 });
  });

  it('survives broken lists', () => {
    const loop = configSpace(256, { 64: [0x09, 0x40, 0x10] });
    expect(capabilities(loop).length).toBeLessThanOrEqual(48);
    const cutOff = configSpace(256, { 52: [0xfc], 252: [0x11, 0, 0x40, 0x80] });
    expect(capabilities(cutOff)[0]!.fields).toEqual({});
    expect(capabilities(new Uint8Array(256).fill(0xff))).toEqual([]);
    expect(capabilities(new Uint8Array(0))).toEqual([]);
    const extendedLoop = configSpace(4096, { 256: [0x03, 0, 0x01, 0x10] });
    expect(capabilities(extendedLoop).length).toBeLessThanOrEqual(1 + 960);
  });

  it('has no list where the status register says so', () => {
    const config = configSpace(256, { 64: [0x05, 0, 0x80, 0] });
    config[0x06] = 0;
    expect(capabilities(config)).toEqual([]);
  });
});
