/*
 * DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS with real eventfds.
 */
import { writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { concat, hex, u32 } from '../../test/support/bytes.ts';
import { type RawClient, setIrqs } from '../../test/support/raw-client.ts';
import { type Served, serve } from '../../test/support/served-device.ts';
import { INTX, MSIX, MSIX_VECTORS, type TestDevice } from '../../test/support/test-device.ts';
import { ERRNO } from '../abi/index.ts';

const GET_IRQ_INFO = 7;
const SET_IRQS = 8;

// Flags of vfio_irq_set.
const NONE = 1;
const BOOL = 2;
const EVENTFD = 4;
const MASK = 8;
const UNMASK = 16;
const TRIGGER = 32;

let served: Served<TestDevice>;
let device: TestDevice;
let client: RawClient;
let eventfds: number[];

beforeEach(async () => {
  served = await serve();
  device = served.device;
  client = await served.open();
  eventfds = [];
});
afterEach(async () => {
  for (const fd of eventfds) client.sys.close(fd);
  await served.close();
});

function eventfd(): number {
  const fd = client.sys.eventfd();
  eventfds.push(fd);
  return fd;
}

const count = (fd: number): number => client.sys.eventfdRead(fd);
const wire = (index: number, start: number, ...fds: number[]): Promise<unknown> =>
  client.request(SET_IRQS, setIrqs(EVENTFD | TRIGGER, index, start, fds.length), fds);
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

describe('DEVICE_GET_IRQ_INFO', () => {
  test('flags and count of each index', async () => {
    const ask = (index: number): Uint8Array => concat(u32(16), u32(0), u32(index), u32(0));
    const answer = (flags: number, index: number, count: number): string =>
      hex(concat(u32(16), u32(flags), u32(index), u32(count)));
    expect(hex((await client.request(GET_IRQ_INFO, ask(0))).body)).toBe(answer(7, 0, 1));
    expect(hex((await client.request(GET_IRQ_INFO, ask(1))).body)).toBe(answer(0, 1, 0));
    expect(hex((await client.request(GET_IRQ_INFO, ask(2))).body)).toBe(answer(1, 2, MSIX_VECTORS));
    expect(await client.errno(GET_IRQ_INFO, ask(5))).toBe(ERRNO.EINVAL);
    expect(await client.errno(GET_IRQ_INFO, concat(u32(15), u32(0), u32(0), u32(0)))).toBe(ERRNO.EINVAL);
    expect(await client.errno(GET_IRQ_INFO, u32(16))).toBe(ERRNO.EINVAL);
  });
});

describe('DEVICE_SET_IRQS', () => {
  test('wired vectors reach their eventfds, vector by vector, in one message or several', async () => {
    const [a, b, c] = [eventfd(), eventfd(), eventfd()];
    await wire(MSIX, 1, a, b);
    await wire(MSIX, 3, c);
    const irq = device.irqs[MSIX]!;
    expect([irq.raise(1), irq.raise(2), irq.raise(2), irq.raise(3), irq.raise(4)]).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
    expect([count(a), count(b), count(c)]).toEqual([1, 2, 1]);
  });

  test("QEMU's way: INTx with argsz 20 and no data, ERR likewise", async () => {
    const [intx, err] = [eventfd(), eventfd()];
    await wire(INTX, 0, intx);
    await wire(3, 0, err);
    device.irqs[INTX]!.raise(0);
    expect([count(intx), count(err)]).toEqual([1, 0]);
  });

  test('a sub-range is unwired by EVENTFD without fds', async () => {
    const fds = [eventfd(), eventfd(), eventfd(), eventfd()];
    await wire(MSIX, 0, ...fds);
    await client.request(SET_IRQS, setIrqs(EVENTFD | TRIGGER, MSIX, 1, 2));
    const irq = device.irqs[MSIX]!;
    for (let vector = 0; vector < 4; vector++) irq.raise(vector);
    expect(fds.map(count)).toEqual([1, 0, 0, 1]);
  });

  test('NONE with start and count 0 turns the index off, and no other', async () => {
    const [a, b] = [eventfd(), eventfd()];
    await wire(MSIX, 0, a);
    await wire(INTX, 0, b);
    await client.request(SET_IRQS, setIrqs(NONE | TRIGGER, INTX, 0, 0));
    expect([device.irqs[INTX]!.raise(0), device.irqs[MSIX]!.raise(0)]).toEqual([false, true]);
  });

  test('loopback: TRIGGER with NONE or BOOL fires', async () => {
    const fds = [eventfd(), eventfd(), eventfd()];
    await wire(MSIX, 0, ...fds);
    await client.request(SET_IRQS, setIrqs(NONE | TRIGGER, MSIX, 0, 1));
    await client.request(SET_IRQS, setIrqs(BOOL | TRIGGER, MSIX, 0, 3, Uint8Array.of(0, 1, 1)));
    expect(fds.map(count)).toEqual([1, 1, 1]);
  });

  test('INTx masks itself; UNMASK fires again while it is asserted', async () => {
    const fd = eventfd();
    await wire(INTX, 0, fd);
    const irq = device.irqs[INTX]!;
    irq.raise(0);
    irq.raise(0);
    expect(count(fd)).toBe(1);
    await client.request(SET_IRQS, setIrqs(NONE | UNMASK, INTX, 0, 1));
    expect(count(fd)).toBe(1);
    irq.lower();
    await client.request(SET_IRQS, setIrqs(NONE | UNMASK, INTX, 0, 1));
    expect(count(fd)).toBe(0);
  });

  test('resample: signalling the UNMASK eventfd unmasks, until it is taken away', async () => {
    const [fd, resample] = [eventfd(), eventfd()];
    await wire(INTX, 0, fd);
    await client.request(SET_IRQS, setIrqs(EVENTFD | UNMASK, INTX, 0, 1), [resample]);
    const irq = device.irqs[INTX]!;
    irq.raise(0);
    expect([count(fd), irq.masked(0)]).toEqual([1, true]);
    client.sys.eventfdSignal(resample);
    await settle();
    expect(count(fd)).toBe(1);
    await client.request(SET_IRQS, setIrqs(EVENTFD | UNMASK, INTX, 0, 1));
    client.sys.eventfdSignal(resample);
    await settle();
    expect(count(fd)).toBe(0);
  });

  test('mask and unmask by NONE and BOOL', async () => {
    const fd = eventfd();
    await wire(INTX, 0, fd);
    await client.request(SET_IRQS, setIrqs(BOOL | MASK, INTX, 0, 1, Uint8Array.of(1)));
    device.irqs[INTX]!.raise(0);
    expect(count(fd)).toBe(0);
    await client.request(SET_IRQS, setIrqs(BOOL | UNMASK, INTX, 0, 1, Uint8Array.of(1)));
    expect(count(fd)).toBe(1);
  });

  test('the same fd for several vectors', async () => {
    const fd = eventfd();
    await wire(MSIX, 0, fd, fd);
    device.irqs[MSIX]!.raise(0);
    device.irqs[MSIX]!.raise(1);
    expect(count(fd)).toBe(2);
  });

  test.each([
    ['no DATA', TRIGGER, MSIX, 0, 1, 0],
    ['two DATA', NONE | BOOL | TRIGGER, MSIX, 0, 1, 1],
    ['no ACTION', NONE, MSIX, 0, 1, 0],
    ['two ACTIONs', NONE | MASK | TRIGGER, MSIX, 0, 1, 0],
    ['an unknown flag', NONE | TRIGGER | 64, MSIX, 0, 1, 0],
    ['an index that is not there', NONE | TRIGGER, 5, 0, 1, 0],
    ['an index without vectors', NONE | TRIGGER, 1, 0, 1, 0],
    ['start beyond the end', NONE | TRIGGER, MSIX, MSIX_VECTORS, 1, 0],
    ['count beyond the end', NONE | TRIGGER, MSIX, 1, MSIX_VECTORS, 0],
    ['start + count that wraps', NONE | TRIGGER, MSIX, 1, 0xffffffff, 0],
    ['masking ERR', NONE | MASK, 3, 0, 1, 0],
    ['two ERR', NONE | TRIGGER, 3, 0, 2, 0],
    ['count 0 with a start', NONE | TRIGGER, MSIX, 1, 0, 0],
    ['count 0 with BOOL', BOOL | TRIGGER, MSIX, 0, 0, 0],
    ['count 0 with MASK', NONE | MASK, INTX, 0, 0, 0],
    ['fewer bools than count', BOOL | TRIGGER, MSIX, 0, 3, 2],
    ['more bools than count', BOOL | TRIGGER, MSIX, 0, 3, 4],
    ['data without BOOL', NONE | TRIGGER, MSIX, 0, 1, 1],
  ])('refused with EINVAL: %s', async (_name, flags, index, start, vectors, bools) => {
    const body = setIrqs(flags, index, start, vectors, new Uint8Array(bools).fill(1));
    expect(await client.errno(SET_IRQS, body)).toBe(ERRNO.EINVAL);
  });

  test('fds that do not fit the request are refused, and what was wired stays', async () => {
    const [a, b] = [eventfd(), eventfd()];
    await wire(MSIX, 0, a);
    expect(await client.errno(SET_IRQS, setIrqs(EVENTFD | TRIGGER, MSIX, 0, 1), [a, b])).toBe(ERRNO.EINVAL);
    expect(await client.errno(SET_IRQS, setIrqs(EVENTFD | TRIGGER, MSIX, 0, 3), [a, b])).toBe(ERRNO.EINVAL);
    expect(await client.errno(SET_IRQS, setIrqs(NONE | TRIGGER, MSIX, 0, 1), [a])).toBe(ERRNO.EINVAL);
    device.irqs[MSIX]!.raise(0);
    expect(count(a)).toBe(1);
  });

  test('an fd that is no eventfd is refused, the good one beside it too', async () => {
    const memfd = client.sys.memfdCreate('no-eventfd');
    const [a, b] = client.sys.socketpair();
    eventfds.push(memfd, a, b);
    const good = eventfd();
    for (const bad of [memfd, a]) {
      const body = setIrqs(EVENTFD | TRIGGER, MSIX, 0, 2);
      expect(await client.errno(SET_IRQS, body, [good, bad])).toBe(ERRNO.EINVAL);
    }
    expect(device.irqs[MSIX]!.enabled).toBe(false);
  });

  test('argsz too small, and too short', async () => {
    const body = setIrqs(NONE | TRIGGER, MSIX, 0, 1);
    body[0] = 19;
    expect(await client.errno(SET_IRQS, body)).toBe(ERRNO.EINVAL);
    expect(await client.errno(SET_IRQS, body.subarray(0, 19))).toBe(ERRNO.EINVAL);
  });

  test('masking what cannot be masked is ENOTTY', async () => {
    expect(await client.errno(SET_IRQS, setIrqs(NONE | MASK, MSIX, 0, 1))).toBe(ERRNO.ENOTTY);
  });

  test('the client leaves: nothing is wired any more', async () => {
    const fd = eventfd();
    await wire(MSIX, 0, fd);
    const { sys } = client;
    client.close();
    await settle();
    expect(device.irqs[MSIX]!.enabled).toBe(false);
    expect(device.irqs[MSIX]!.raise(0)).toBe(false);
    expect(sys.eventfdRead(fd)).toBe(0);
  });

  test('a full eventfd stops nobody', async () => {
    const fd = eventfd();
    await wire(MSIX, 0, fd);
    writeSync(fd, Buffer.from([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
    for (let i = 0; i < 3; i++) device.irqs[MSIX]!.raise(0);
    expect(await client.errno(GET_IRQ_INFO, concat(u32(16), u32(0), u32(0), u32(0)))).toBe(0);
  });
});
