/*
 * A conversation as it is shown: expected lines are written by hand from the protocol.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { concat, text, u16, u32, u64 } from '../../test/support/bytes.ts';
import {
  access,
  dmaMap,
  dmaUnmap,
  ERROR,
  message,
  NO_REPLY,
  RawClient,
  REPLY,
  setIrqs,
  version,
} from '../../test/support/raw-client.ts';
import { type Served, serve } from '../../test/support/served-device.ts';
import { REGISTER, type TestDevice } from '../../test/support/test-device.ts';
import { openSys } from '../sys/index.ts';
import { type TracedMessage, traceLine } from './index.ts';

const IOVA = 0x40000000;

let served: Served<TestDevice>;
let lines: string[];
afterEach(() => served?.close());

/** Serves and keeps the lines, without their times. */
async function start(): Promise<void> {
  lines = [];
  served = await serve({ trace: (traced) => lines.push(traceLine(traced, traced.timeMs).trimStart()) });
}

/** A line of a message that is made here. */
function lineOf(bytes: Uint8Array, options: Partial<TracedMessage> = {}): string {
  const traced: TracedMessage = {
    timeMs: 1000,
    device: 'test',
    sender: 'client',
    socket: 'main',
    bytes,
    fds: 0,
    ...options,
  };
  return traceLine(traced, 1000).trimStart();
}

describe('a conversation', () => {
  test('both directions, in order, each message once', async () => {
    await start();
    const sys = openSys();
    const client = RawClient.connect(served.path);
    await client.request(1, version('{"capabilities":{"max_msg_fds":2}}'));
    const memory = sys.memfdCreate('trace');
    sys.ftruncate(memory, 0x1000);
    const eventfd = sys.eventfd();
    await client.request(2, dmaMap(0x10000, 0x1000, { flags: 3 }), [memory]);
    await client.request(2, dmaMap(IOVA, 0x2000, { flags: 1 }));
    await client.request(10, access(0, 0x20, 4, u32(0x12345678)));
    await client.request(9, access(0, 0x20, 4));
    client.post(10, access(0, 0x24, 2, u16(7)));
    expect(await client.errno(9, access(5, 0, 4))).toBe(22);
    await client.request(8, setIrqs(0x24, 2, 1, 1), [eventfd]);
    const done = served.device.dma.read(IOVA + 16, new Uint8Array(4));
    const dma = await client.command();
    client.answer(dma, concat(dma.body, u32(0xaabbccdd)));
    await done;
    await client.request(3, dmaUnmap(IOVA, 0x2000));
    await client.request(13, new Uint8Array(0));
    client.close();
    sys.close(memory);
    sys.close(eventfd);
    expect(lines).toEqual([
      '0.000 test > 0001 VERSION 0.1 {"capabilities":{"max_msg_fds":2}}',
      '0.000 test < 0001 VERSION ok 0.1 {"capabilities":{"max_msg_fds":16}}',
      '0.000 test > 0002 DMA_MAP addr=0x10000 size=0x1000 flags=0x3(read|write) offset=0x0 fds=1',
      '0.000 test < 0002 DMA_MAP ok',
      '0.000 test > 0003 DMA_MAP addr=0x40000000 size=0x2000 flags=0x1(read) offset=0x0 fds=0',
      '0.000 test < 0003 DMA_MAP ok',
      '0.000 test > 0004 REGION_WRITE region=0 offset=0x20 count=4 data=78563412',
      '0.000 test < 0004 REGION_WRITE ok region=0 offset=0x20 count=4',
      '0.000 test > 0005 REGION_READ region=0 offset=0x20 count=4',
      '0.000 test < 0005 REGION_READ ok region=0 offset=0x20 count=4 data=78563412',
      '0.000 test > 0006 REGION_WRITE posted region=0 offset=0x24 count=2 data=0700',
      '0.000 test > 0007 REGION_READ region=5 offset=0x0 count=4',
      '0.000 test < 0007 REGION_READ EINVAL',
      '0.000 test > 0008 DEVICE_SET_IRQS index=2 start=1 count=1 flags=0x24(eventfd|trigger) fds=1',
      '0.000 test < 0008 DEVICE_SET_IRQS ok',
      '0.000 test < 0001 DMA_READ iova=0x40000010 count=0x4',
      '0.000 test > 0001 DMA_READ ok iova=0x40000010 count=0x4 data=ddccbbaa',
      '0.000 test > 0009 DMA_UNMAP addr=0x40000000 size=0x2000 flags=0x0',
      '0.000 test < 0009 DMA_UNMAP ok addr=0x40000000 size=0x2000 flags=0x0',
      '0.000 test > 000a DEVICE_RESET',
      '0.000 test < 000a DEVICE_RESET ok',
    ]);
  });

  test('also after a handler that took time', async () => {
    await start();
    const client = await served.open();
    await client.request(10, access(0, REGISTER.LATE, 4, u32(6)));
    lines.length = 0;
    await client.request(9, access(0, REGISTER.LATE, 4));
    expect(lines).toEqual([
      '0.000 test > 0003 REGION_READ region=0 offset=0x128 count=4',
      '0.000 test < 0003 REGION_READ ok region=0 offset=0x128 count=4 data=07000000',
    ]);
  });

  test('the twin socket has double arrows', async () => {
    await start();
    const client = RawClient.connect(served.path);
    const offer = '{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}}';
    const twin = new RawClient((await client.request(1, version(offer))).fds[0]!);
    await client.request(2, dmaMap(IOVA, 0x1000));
    lines.length = 0;
    const done = served.device.dma.write(IOVA, Uint8Array.of(1, 2));
    const dma = await twin.command();
    twin.answer(dma, dma.body.subarray(0, 16));
    await done;
    expect(lines).toEqual([
      '0.000 test << 0001 DMA_WRITE iova=0x40000000 count=0x2 data=0102',
      '0.000 test >> 0001 DMA_WRITE ok iova=0x40000000 count=0x2',
    ]);
    twin.close();
    client.close();
  });

  test('what no session can use is shown too', async () => {
    await start();
    const client = await served.open();
    lines.length = 0;
    expect(await client.errno(10, access(2, 0, (1 << 20) + 4, new Uint8Array((1 << 20) + 4)))).toBe(22);
    const refused = client.reply(7, 9);
    client.send(message(9, 7, access(0, 0, 4), 2));
    await refused;
    client.send(message(11, 9, new Uint8Array(0), REPLY));
    await client.request(9, access(0, 0, 1));
    expect(lines.slice(0, 5)).toEqual([
      '0.000 test > 0002 REGION_WRITE size=1048612 (too large)',
      '0.000 test < 0002 REGION_WRITE EINVAL',
      '0.000 test > 0007 REGION_READ type=2 region=0 offset=0x0 count=4',
      '0.000 test < 0007 REGION_READ EINVAL',
      '0.000 test > 0009 DMA_READ ok',
    ]);
  });

  test('a trace that throws is left out, and the conversation goes on', async () => {
    served = await serve({
      trace: () => {
        throw new Error('no ink');
      },
    });
    const client = await served.open();
    await client.request(9, access(0, 0, 4));
    expect(served.told.filter((event) => event === 'handler-error: a trace')).toHaveLength(1);
  });
});

describe('a line', () => {
  test('begins with ms since the start', () => {
    const bytes = message(13, 0xabc, new Uint8Array(0));
    const traced: TracedMessage = {
      timeMs: 2234.5678,
      device: 'edu',
      sender: 'client',
      socket: 'main',
      bytes,
      fds: 0,
    };
    expect(traceLine(traced, 1000)).toBe('  1234.568 edu > 0abc DEVICE_RESET');
  });

  const region = concat(u32(64), u32(0xf), u32(2), u32(32), u64(0x10000), u64(2n ** 41n), u16(1), u16(1));
  const writeOf = (offset: number, count: number, value: number): Uint8Array =>
    concat(u64(offset), u32(0), u32(count), u64(value));

  test.each([
    ['info', 4, concat(u32(16), u32(3), u32(9), u32(5)), 'flags=0x3 regions=9 irqs=5'],
    ['region info', 5, region, 'index=2 size=0x10000 flags=0xf offset=0x20000000000 argsz=64 caps=01000100'],
    ['irq info', 7, concat(u32(16), u32(9), u32(2), u32(16)), 'index=2 count=16 flags=0x9'],
    [
      'io fds',
      6,
      concat(u32(56), u32(0), u32(0), u32(1), u32(0xff)),
      'index=0 count=1 argsz=56 entries=ff000000',
    ],
    ['writes', 15, u64(3), 'done=3'],
    ['feature', 16, concat(u32(8), u32(0x10001)), 'flags=0x10001 argsz=8'],
  ])('reply: %s', (_name, command, body, fields) => {
    const name = lineOf(message(command, 1, new Uint8Array(0))).split(' ')[4]!;
    expect(lineOf(message(command, 1, body, REPLY))).toBe(`0.000 test > 0001 ${name} ok ${fields}`);
  });

  test.each([
    [
      'several writes',
      15,
      concat(u64(2), writeOf(4, 4, 0x0a), writeOf(8, 1, 0xff)),
      'REGION_WRITE_MULTI writes=2 region=0 offset=0x4 data=0a000000, region=0 offset=0x8 data=ff',
    ],
    [
      'many writes',
      15,
      concat(u64(6), ...Array.from({ length: 6 }, () => writeOf(0, 0, 0))),
      `REGION_WRITE_MULTI writes=6${Array.from({ length: 4 }, () => ' region=0 offset=0x0 data=').join(',')} and 2 more`,
    ],
    ['more writes than there are', 15, u64(9), 'REGION_WRITE_MULTI body=0900000000000000 (too short)'],
    ['too short for its command', 2, u32(1), 'DMA_MAP body=01000000 (too short) fds=0'],
    ['an unknown command', 99, u16(1), 'command 99 body=0100'],
    [
      'much data',
      10,
      access(0, 0, 40, new Uint8Array(40)),
      `REGION_WRITE region=0 offset=0x0 count=40 data=${'00'.repeat(32)}+8bytes`,
    ],
    [
      'u64 that no number holds',
      2,
      dmaMap(2n ** 64n - 1n, 1),
      'DMA_MAP addr=0xffffffffffffffff size=0x1 flags=0x3(read|write) offset=0x0 fds=0',
    ],
    [
      'text for a terminal',
      1,
      concat(u16(0), u16(1), text('{"\u001b[31m\n":1}\0')),
      'VERSION 0.1 {".[31m.":1}',
    ],
  ])('command: %s', (_name, command, body, fields) => {
    expect(lineOf(message(command, 1, body))).toBe(`0.000 test > 0001 ${fields}`);
  });

  test('an error has its errno, and a posted command says so', () => {
    expect(lineOf(message(9, 1, new Uint8Array(0), REPLY | ERROR, 5))).toBe(
      '0.000 test > 0001 REGION_READ EIO',
    );
    expect(lineOf(message(13, 1, new Uint8Array(0), NO_REPLY))).toBe('0.000 test > 0001 DEVICE_RESET posted');
  });

  test('however long the text is, the line is not', () => {
    const body = concat(u16(0), u16(1), text('x'.repeat(100_000)));
    expect(lineOf(message(1, 1, body)).length).toBeLessThan(600);
  });
});
