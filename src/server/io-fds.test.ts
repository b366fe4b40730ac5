/*
 * DEVICE_GET_REGION_IO_FDS: entries of 40 bytes, as the protocol lays them out.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { concat, hex, read, u32, u64 } from '../../test/support/bytes.ts';
import { type Served, serveDevice } from '../../test/support/served-device.ts';
import { TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';

const GET_REGION_IO_FDS = 6;
const DATAMATCH = 1;

let served: Served<TestDevice>;
afterEach(() => served.close());

const ask = (argsz: number, index: number, flags = 0, count = 0): Uint8Array =>
  concat(u32(argsz), u32(flags), u32(index), u32(count));
const entry = (offset: number, fdIndex: number, flags: number, datamatch: number): Uint8Array =>
  concat(u64(offset), u64(4), u32(fdIndex), u32(0), u32(flags), u32(0), u64(datamatch));
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

describe('DEVICE_GET_REGION_IO_FDS', () => {
  test('entries and fds, a shared fd once; ringing calls the device', async () => {
    served = await serveDevice(new TestDevice('bells', { ioEventfds: 3 }));
    const client = await served.open();
    const reply = await client.request(GET_REGION_IO_FDS, ask(1000, 0));
    expect(hex(reply.body)).toBe(
      hex(
        concat(
          ask(16 + 3 * 40, 0, 0, 3),
          entry(0x800, 0, 0, 0),
          entry(0x804, 0, DATAMATCH, 1),
          entry(0x808, 1, 0, 0),
        ),
      ),
    );
    expect(reply.fds).toHaveLength(2);
    client.sys.eventfdSignal(reply.fds[0]!);
    client.sys.eventfdSignal(reply.fds[1]!);
    await settle();
    expect(served.device.rings).toBe(2);
    for (const fd of reply.fds) client.sys.close(fd);
  });

  test('too small an argsz: the fixed part says how much is needed, no fds', async () => {
    served = await serveDevice(new TestDevice('bells', { ioEventfds: 3 }));
    const client = await served.open();
    const reply = await client.request(GET_REGION_IO_FDS, ask(16 + 3 * 40 - 1, 0));
    expect(hex(reply.body)).toBe(hex(ask(16 + 3 * 40, 0, 0, 3)));
    expect(reply.fds).toEqual([]);
  });

  test('no more fds than the client takes', async () => {
    served = await serveDevice(new TestDevice('bells', { ioEventfds: 5 }));
    const client = await served.open('{"capabilities":{"max_msg_fds":2}}');
    const reply = await client.request(GET_REGION_IO_FDS, ask(1000, 0));
    expect(read(reply.body, 12, 4)).toBe(3);
    expect(reply.fds).toHaveLength(2);
    for (const fd of reply.fds) client.sys.close(fd);
  });

  test('a region without doorbells has none', async () => {
    served = await serveDevice(new TestDevice());
    const client = await served.open();
    expect(hex((await client.request(GET_REGION_IO_FDS, ask(16, 0))).body)).toBe(hex(ask(16, 0)));
    expect(hex((await client.request(GET_REGION_IO_FDS, ask(16, 2))).body)).toBe(hex(ask(16, 2)));
  });

  test('refused with EINVAL: index, flags, count, argsz, too short', async () => {
    served = await serveDevice(new TestDevice());
    const client = await served.open();
    for (const body of [ask(16, 10), ask(16, 0, 1), ask(16, 0, 0, 1), ask(15, 0), u32(16)]) {
      expect(await client.errno(GET_REGION_IO_FDS, body)).toBe(ERRNO.EINVAL);
    }
  });
});
