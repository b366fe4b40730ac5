/*
 * A peer's BAR as a DMA target without an fd: what QEMU does when several vfio-user devices share a guest.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { u16, u32 } from '../../test/support/bytes.ts';
import { access, dmaMap, dmaUnmap, type RawClient } from '../../test/support/raw-client.ts';
import { type Served, serveDevice } from '../../test/support/served-device.ts';
import { PciDevice } from '../bus/pci/index.ts';
import { PeerRegistry } from './peers.ts';

const WRITE = 10;
const CONFIG = 7;
const COMMAND = 0x04;
const BAR0 = 0x10;
const BAR2 = 0x18;
/** Device Control of the one capability: the first capability lies at 0x40. */
const DEVCTL = 0x48;
const INITIATE_FUNCTION_LEVEL_RESET = 0x8000;
const ADDRESS = 0xfeb00000;

class Peer extends PciDevice {
  constructor(name: string) {
    super({
      name,
      vendorId: 0x1234,
      deviceId: 0x5678,
      classCode: 0x058000,
      capabilities: [{ type: 'express' }],
      bars: {
        0: { type: 'mem32', sizeBytes: 0x10000, mappable: true, dma: 'allow' },
        2: {
          type: 'mem32',
          sizeBytes: 0x10000,
          mappable: [
            { offset: 0, size: 0x1000, dma: 'allow' },
            { offset: 0x8000, size: 0x8000, dma: 'deny' },
          ],
        },
      },
    });
  }
}

let owner: Served<Peer>;
let reader: Served<Peer>;
let toOwner: RawClient;
let toReader: RawClient;

beforeEach(async () => {
  const peers = new PeerRegistry();
  owner = await serveDevice(new Peer('owner'), { peers });
  reader = await serveDevice(new Peer('reader'), { peers });
  toOwner = await owner.open();
  toReader = await reader.open();
  await toReader.request(WRITE, access(CONFIG, COMMAND, 2, u16(6)));
});
afterEach(async () => {
  await owner.close();
  await reader.close();
});

/** Software assigns the owner's BARs and turns memory decode on. */
async function assign(): Promise<void> {
  await toOwner.request(WRITE, access(CONFIG, BAR0, 4, u32(ADDRESS)));
  await toOwner.request(WRITE, access(CONFIG, BAR2, 4, u32(ADDRESS + 0x10000)));
  await toOwner.request(WRITE, access(CONFIG, COMMAND, 2, u16(2)));
}

async function kindOf(iova: number, size: number): Promise<string> {
  await toReader.request(2, dmaMap(iova, size));
  const kind = reader.server.session!.container!.find(iova)!.source.kind;
  await toReader.request(3, dmaUnmap(iova, size));
  return kind;
}

describe('a DMA_MAP without an fd', () => {
  test("is device memory where it is exactly a peer's BAR or area", async () => {
    await assign();
    expect(await kindOf(ADDRESS, 0x10000)).toBe('device');
    expect(await kindOf(ADDRESS + 0x10000, 0x1000)).toBe('device');
  });

  test('is left to messages elsewhere: a part, too much, without consent, not assigned', async () => {
    expect(await kindOf(ADDRESS, 0x10000)).toBe('remote');
    await assign();
    expect(await kindOf(ADDRESS, 0x1000)).toBe('remote');
    expect(await kindOf(ADDRESS, 0x11000)).toBe('remote');
    expect(await kindOf(ADDRESS + 0x10000, 0x10000)).toBe('remote');
    expect(await kindOf(ADDRESS + 0x18000, 0x8000)).toBe('remote');
    await toOwner.request(WRITE, access(CONFIG, COMMAND, 2, u16(0)));
    expect(await kindOf(ADDRESS, 0x10000)).toBe('remote');
  });

  test('peer-to-peer: the data moves without a message, and stops with the peer', async () => {
    await assign();
    await toReader.request(2, dmaMap(ADDRESS, 0x10000));
    owner.device.region(0).memory!.bytesAt(0)[3] = 0x5a;
    const target = new Uint8Array(4);
    expect(reader.device.dma.read(ADDRESS, target)).toBeNull();
    expect(target[3]).toBe(0x5a);
    expect(toReader.commands).toEqual([]);
    await toOwner.request(WRITE, access(CONFIG, COMMAND, 2, u16(0)));
    expect(reader.device.dma.read(ADDRESS, target)).toMatchObject({ reason: 'memory decode is off' });
    await toOwner.request(WRITE, access(CONFIG, COMMAND, 2, u16(2)));
    expect(reader.device.dma.read(ADDRESS, target)).toBeNull();
  });

  test("is device memory after the peer's function level reset too, though its client assigns nothing anew", async () => {
    await assign();
    await toReader.request(2, dmaMap(ADDRESS, 0x10000));
    owner.device.region(0).memory!.bytesAt(0)[3] = 0x5a;
    await toOwner.request(WRITE, access(CONFIG, DEVCTL, 2, u16(INITIATE_FUNCTION_LEVEL_RESET)));
    const target = new Uint8Array(4);
    expect(reader.device.dma.read(ADDRESS, target)).toBeNull();
    expect(target[3]).toBe(0x5a);
    // Linux saves and restores around the reset: decode goes off and on.
    await toReader.request(3, dmaUnmap(ADDRESS, 0x10000));
    await toOwner.request(WRITE, access(CONFIG, COMMAND, 2, u16(0)));
    await toOwner.request(WRITE, access(CONFIG, COMMAND, 2, u16(2)));
    expect(await kindOf(ADDRESS, 0x10000)).toBe('device');
  });

  test('a device that its process has detached is no peer any more', async () => {
    await assign();
    toOwner.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await kindOf(ADDRESS, 0x10000)).toBe('remote');
  });
});

describe('PeerRegistry', () => {
  test('keeps processes apart, and counts a device that is attached twice', () => {
    const registry = new PeerRegistry();
    const first = registry.add(1, owner.device);
    const second = registry.add(1, owner.device);
    expect(registry.devicesOf(2)).toEqual([]);
    first();
    first();
    expect(registry.devicesOf(1)).toEqual([owner.device]);
    second();
    expect(registry.devicesOf(1)).toEqual([]);
  });
});
