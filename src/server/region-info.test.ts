/*
 * DEVICE_GET_INFO and DEVICE_GET_REGION_INFO: layouts as in the protocol, written out by hand.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat, hex, read, u16, u32, u64 } from '../../test/support/bytes.ts';
import type { RawClient } from '../../test/support/raw-client.ts';
import { type Served, serve } from '../../test/support/served-device.ts';
import { BAR2_BYTES, type TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';

const GET_INFO = 4;
const GET_REGION_INFO = 5;

// Flags of vfio_region_info.
const READ = 1;
const WRITE = 2;
const MMAP = 4;
const CAPS = 8;

let served: Served<TestDevice>;
let client: RawClient;

beforeEach(async () => {
  served = await serve();
  client = await served.open();
});
afterEach(() => served.close());

const ask = (index: number, argsz: number): Uint8Array =>
  concat(u32(argsz), u32(0), u32(index), u32(0), u64(0), u64(0));
const info = (
  argsz: number,
  flags: number,
  index: number,
  capOffset: number,
  size: number,
  ...rest: Uint8Array[]
): string =>
  hex(concat(u32(argsz), u32(flags), u32(index), u32(capOffset), u64(size), u64(index * 2 ** 40), ...rest));

function closeFds({ fds }: { fds: readonly number[] }): number {
  for (const fd of fds) client.sys.close(fd);
  return fds.length;
}

describe('DEVICE_GET_INFO', () => {
  test('flags RESET and PCI, regions up to the highest index, five interrupt indexes', async () => {
    const reply = await client.request(GET_INFO, concat(u32(16), u32(0), u32(0), u32(0)));
    expect(hex(reply.body)).toBe(hex(concat(u32(16), u32(3), u32(10), u32(5))));
  });

  test('a larger argsz is fine, a smaller one is EINVAL', async () => {
    expect(await client.errno(GET_INFO, concat(u32(64), u32(0), u32(0), u32(0)))).toBe(0);
    expect(await client.errno(GET_INFO, concat(u32(15), u32(0), u32(0), u32(0)))).toBe(ERRNO.EINVAL);
    expect(await client.errno(GET_INFO, concat(u32(16), u32(0), u32(0)))).toBe(ERRNO.EINVAL);
  });
});

describe('DEVICE_GET_REGION_INFO', () => {
  test('a plain region', async () => {
    const reply = await client.request(GET_REGION_INFO, ask(0, 32));
    expect(hex(reply.body)).toBe(info(32, READ | WRITE, 0, 0, 0x1000));
    expect(closeFds(reply)).toBe(0);
  });

  test('read-only, write-only and absent regions', async () => {
    expect(hex((await client.request(GET_REGION_INFO, ask(1, 32))).body)).toBe(info(32, READ, 1, 0, 0x1000));
    expect(hex((await client.request(GET_REGION_INFO, ask(4, 32))).body)).toBe(info(32, WRITE, 4, 0, 0x1000));
    expect(hex((await client.request(GET_REGION_INFO, ask(5, 32))).body)).toBe(info(32, 0, 5, 0, 0));
    expect(hex((await client.request(GET_REGION_INFO, ask(8, 32))).body)).toBe(info(32, 0, 8, 0, 0));
  });

  test('mappable as a whole: MMAP with the fd, no capability', async () => {
    const reply = await client.request(GET_REGION_INFO, ask(2, 32));
    expect(hex(reply.body)).toBe(info(32, READ | WRITE | MMAP, 2, 0, BAR2_BYTES));
    expect(client.sys.identity(reply.fds[0]!).sizeBytes).toBe(2 * 2 ** 40 + BAR2_BYTES);
    expect(closeFds(reply)).toBe(1);
  });

  test('sparse: the fixed part, the fd and the needed argsz first; all of it when it fits', async () => {
    const needed = 32 + 16 + 2 * 16;
    const first = await client.request(GET_REGION_INFO, ask(3, 32));
    expect(hex(first.body)).toBe(info(needed, READ | WRITE | MMAP, 3, 0, 0x10000));
    expect(closeFds(first)).toBe(1);
    const tooSmall = await client.request(GET_REGION_INFO, ask(3, needed - 1));
    expect(tooSmall.body).toHaveLength(32);
    closeFds(tooSmall);

    const second = await client.request(GET_REGION_INFO, ask(3, needed));
    const sparse = [
      u16(1),
      u16(1),
      u32(0),
      u32(2),
      u32(0),
      u64(0x1000),
      u64(0x1000),
      u64(0x8000),
      u64(0x8000),
    ];
    expect(hex(second.body)).toBe(info(needed, READ | WRITE | MMAP | CAPS, 3, 32, 0x10000, ...sparse));
    expect(closeFds(second)).toBe(1);
  });

  test('device-specific: sparse and type capabilities in one chain', async () => {
    const needed = 32 + 32 + 16;
    const reply = await client.request(GET_REGION_INFO, ask(9, 1000));
    const sparse = [u16(1), u16(1), u32(64), u32(1), u32(0), u64(0x1000), u64(0x1000)];
    const type = [u16(2), u16(1), u32(0), u32(0x80001234), u32(7)];
    expect(hex(reply.body)).toBe(info(needed, READ | WRITE | MMAP | CAPS, 9, 32, 0x2000, ...sparse, ...type));
    closeFds(reply);
  });

  test('the fd is the same memory each time, while the device is suspended too', async () => {
    const first = await client.request(GET_REGION_INFO, ask(2, 32));
    served.device.suspend('memory decode is off');
    const second = await client.request(GET_REGION_INFO, ask(2, 32));
    const [a, b] = [client.sys.identity(first.fds[0]!), client.sys.identity(second.fds[0]!)];
    expect([a.dev, a.ino]).toEqual([b.dev, b.ino]);
    closeFds(first);
    closeFds(second);
  });

  test('a client that takes no fds is told that nothing can be mapped', async () => {
    client.close();
    const poor = await served.open('{"capabilities":{"max_msg_fds":0}}');
    const reply = await poor.request(GET_REGION_INFO, ask(2, 32));
    expect(hex(reply.body)).toBe(info(32, READ | WRITE, 2, 0, BAR2_BYTES));
  });

  test.each([
    ['an index beyond the last', ask(10, 32)],
    ['a huge index', ask(0xffffffff, 32)],
    ['argsz too small', ask(0, 31)],
    ['too short', ask(0, 32).subarray(0, 31)],
  ])('refused with EINVAL: %s', async (_name, body) => {
    expect(await client.errno(GET_REGION_INFO, body)).toBe(ERRNO.EINVAL);
  });

  test('a released device: ENODEV for what needs its memory', async () => {
    served.device.release();
    expect(await client.errno(GET_REGION_INFO, ask(2, 32))).toBe(ERRNO.ENODEV);
    expect(read((await client.request(GET_REGION_INFO, ask(0, 32))).body, 16, 8)).toBe(0x1000);
  });
});
