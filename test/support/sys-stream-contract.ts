/*
 * What every connection must do, live or fake: framing, fds, oversized messages, sending to a peer that does not read.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ConnectionOptions, SysCounts, SysLayer } from '../../src/sys/sys-layer.ts';
import type { ContractWorld } from './sys-contract.ts';
import {
  HEADER,
  joined,
  LIMITS,
  message,
  type Recorder,
  record,
  same,
  sendBytes,
  turns,
  until,
} from './sys-streams.ts';

const EPROTO = 71;
const EAGAIN = 11;

interface Pair {
  readonly left: Recorder;
  readonly right: Recorder;
}

let world: ContractWorld;
let sys: SysLayer;
let before: { readonly fds: number; readonly counts: SysCounts };

/** Registers the tests; afterwards as many fds must be open as before. */
export function streamContract(name: string, makeWorld: () => ContractWorld): void {
  function begin(): void {
    world = makeWorld();
    sys = world.sys;
    before = { fds: world.openFds(), counts: sys.counts() };
  }

  function end(): void {
    expect(world.openFds(), 'open fds').toBe(before.fds);
    expect(sys.counts().connections).toBe(before.counts.connections);
  }

  for (const [part, tests] of Object.entries({ framing, fds, ending, sending })) {
    describe(`${name}: ${part}`, () => {
      beforeEach(begin);
      afterEach(end);
      tests();
    });
  }
}

function pair(options: Partial<ConnectionOptions> = {}, leftOptions: Partial<ConnectionOptions> = {}): Pair {
  const [a, b] = sys.socketpair();
  return { left: record(sys, a, leftOptions), right: record(sys, b, options) };
}

async function finish({ left, right }: Pair): Promise<void> {
  left.connection.close();
  right.connection.close();
  await turns();
}

function framing(): void {
  test('a stream cut at every place is the same messages', async () => {
    const sizes = [HEADER, HEADER + 1, 40, HEADER, 75];
    const messages = sizes.map((size, id) => message(id, size));
    const stream = joined(...messages);
    for (let cut = 0; cut <= stream.length; cut++) {
      const both = pair();
      sendBytes(both.left.connection, stream.subarray(0, cut));
      await turns();
      sendBytes(both.left.connection, stream.subarray(cut));
      await until(
        () => both.right.arrivals.length === sizes.length,
        `all messages of a stream cut at ${cut}`,
      );
      expect(both.right.arrivals.map((each) => each.bytes)).toEqual(messages);
      await finish(both);
    }
  });

  test('many messages that wait come in one call', async () => {
    const both = pair();
    for (let id = 0; id < 100; id++) sendBytes(both.left.connection, message(id, 24));
    await until(() => both.right.arrivals.length === 100);
    expect(both.right.ids).toEqual(Array.from({ length: 100 }, (_, id) => id));
    expect(both.right.batches).toBe(1);
    await finish(both);
  });

  test('more than the receive buffer holds arrives whole', async () => {
    const both = pair({ maxMessageBytes: 64 }, { sendBufferBytes: 2 ** 20 });
    const count = 9000;
    const stream = joined(...Array.from({ length: count }, (_, id) => message(id, HEADER + (id % 48))));
    sendBytes(both.left.connection, stream);
    await until(() => both.right.arrivals.length === count);
    expect(same(joined(...both.right.arrivals.map((each) => each.bytes)), stream)).toBe(true);
    await finish(both);
  });

  test('the largest message is delivered, one byte more is oversized and dropped, the next one is delivered', async () => {
    const both = pair();
    const { connection } = both.left;
    sendBytes(
      connection,
      joined(message(1, LIMITS.maxMessageBytes), message(2, LIMITS.maxMessageBytes + 1), message(3)),
    );
    await until(() => both.right.arrivals.length === 2);
    expect(both.right.ids).toEqual([1, 3]);
    expect(both.right.oversized).toEqual([LIMITS.maxMessageBytes + 1]);
    await finish(both);
  });

  test('an oversized body many times larger than any buffer is drained', async () => {
    const both = pair({}, { sendBufferBytes: 2 ** 21 });
    const { connection } = both.left;
    const size = 3 * 2 ** 20;
    const header = message(1, HEADER);
    new DataView(header.buffer).setUint32(4, size, true);
    sendBytes(connection, header.subarray(0, 9));
    await turns();
    sendBytes(connection, header.subarray(9));
    await until(() => both.right.oversized.length === 1);
    const part = new Uint8Array(2 ** 20).fill(0xee);
    sendBytes(connection, part);
    sendBytes(connection, part);
    sendBytes(connection, joined(part.subarray(HEADER), message(2), message(3, 99)));
    await until(() => both.right.arrivals.length === 2);
    expect(both.right.arrivals[1]!.bytes).toEqual(message(3, 99));
    expect(both.right.oversized).toEqual([size]);
    await finish(both);
  });

  test('the handler of an oversized message can reply', async () => {
    const both = pair();
    both.right.onOversized = (header) => {
      both.right.connection.sendingBytes.set(message(header.getUint16(0, true)));
      return HEADER;
    };
    sendBytes(both.left.connection, message(77, LIMITS.maxMessageBytes + 8).subarray(0, HEADER));
    await until(() => both.left.arrivals.length === 1);
    expect(both.left.ids).toEqual([77]);
    await finish(both);
  });
}

function fds(): void {
  let files: number[];

  beforeEach(() => {
    files = Array.from({ length: 3 }, (_, i) => sys.memfdCreate(`file ${i}`));
  });

  afterEach(() => {
    for (const fd of files) sys.close(fd);
  });

  const namesOf = (recorder: Recorder): string[][] =>
    recorder.arrivals.map((arrival) => arrival.fds.map((fd) => sys.fdName(fd).match(/file \d/)![0]));

  async function close(both: Pair): Promise<void> {
    for (const arrival of both.right.arrivals) arrival.fds.forEach((fd) => void sys.close(fd));
    await finish(both);
  }

  test('merged messages: fds belong to the one they were sent with', async () => {
    const both = pair();
    const { connection } = both.left;
    sendBytes(connection, message(1));
    sendBytes(connection, message(2, 30), [files[0]!, files[1]!]);
    sendBytes(connection, message(3));
    sendBytes(connection, message(4), [files[2]!]);
    await until(() => both.right.arrivals.length === 4);
    expect(namesOf(both.right)).toEqual([[], ['file 0', 'file 1'], [], ['file 2']]);
    await close(both);
  });

  test.each([
    ['with the first part', 0],
    ['with the second part', 1],
  ])('a message cut at every place keeps fds that came %s', async (_, withPart) => {
    const bytes = message(1, 24);
    for (let cut = 1; cut < bytes.length; cut++) {
      const both = pair();
      sendBytes(both.left.connection, bytes.subarray(0, cut), withPart === 0 ? [files[0]!] : []);
      await turns();
      sendBytes(both.left.connection, bytes.subarray(cut), withPart === 1 ? [files[0]!] : []);
      await until(() => both.right.arrivals.length === 1);
      expect(namesOf(both.right)).toEqual([['file 0']]);
      await close(both);
    }
  });

  test('fds of both parts are in order, and the next message has its own', async () => {
    const both = pair();
    const { connection } = both.left;
    sendBytes(connection, message(1, 24).subarray(0, 5), [files[0]!]);
    await turns();
    sendBytes(connection, message(1, 24).subarray(5), [files[1]!]);
    sendBytes(connection, message(2), [files[2]!]);
    await until(() => both.right.arrivals.length === 2);
    expect(namesOf(both.right)).toEqual([['file 0', 'file 1'], ['file 2']]);
    await close(both);
  });

  test('a send that ends inside a message gives its fds to that one', async () => {
    const both = pair();
    sendBytes(both.left.connection, joined(message(1), message(2, 24).subarray(0, 3)), [files[0]!]);
    await until(() => both.right.arrivals.length === 1);
    expect(namesOf(both.right)).toEqual([[]]);
    sendBytes(both.left.connection, message(2, 24).subarray(3));
    await until(() => both.right.arrivals.length === 2);
    expect(namesOf(both.right)).toEqual([[], ['file 0']]);
    await close(both);
  });

  test('one receive can end a message with earlier fds and hold another one with its own', async () => {
    const both = pair();
    const { connection } = both.left;
    sendBytes(connection, message(1, 24).subarray(0, 5), [files[0]!]);
    await turns();
    sendBytes(connection, message(1, 24).subarray(5));
    sendBytes(connection, message(2), [files[1]!]);
    await until(() => both.right.arrivals.length === 2);
    expect(namesOf(both.right)).toEqual([['file 0'], ['file 1']]);
    expect(both.right.arrivals[0]!.batch).toBe(both.right.arrivals[1]!.batch);
    await close(both);
  });

  test('more than maxMessageFds: the first are kept, the others closed and counted', async () => {
    const both = pair({ maxMessageFds: 2 });
    const held = world.openFds();
    sendBytes(both.left.connection, message(1), [files[0]!, files[1]!, files[2]!, files[0]!, files[0]!]);
    sendBytes(both.left.connection, message(2, 24).subarray(0, 20), [files[2]!]);
    await turns();
    sendBytes(both.left.connection, message(2, 24).subarray(20), [files[0]!, files[1]!]);
    await until(() => both.right.arrivals.length === 2);
    expect(namesOf(both.right)).toEqual([
      ['file 0', 'file 1'],
      ['file 2', 'file 0'],
    ]);
    expect(both.right.arrivals.map((each) => each.surplus)).toEqual([3, 1]);
    expect(world.openFds()).toBe(held + 4);
    await close(both);
  });

  test('with maxMessageFds 0 every fd is surplus', async () => {
    const both = pair({ maxMessageFds: 0 });
    sendBytes(both.left.connection, message(1, 20).subarray(0, 18), [files[0]!]);
    await turns();
    sendBytes(both.left.connection, message(1, 20).subarray(18));
    sendBytes(both.left.connection, message(2), [files[1]!, files[2]!]);
    await until(() => both.right.arrivals.length === 2);
    expect(both.right.arrivals.map((each) => [each.fds.length, each.surplus])).toEqual([
      [0, 1],
      [0, 2],
    ]);
    await close(both);
  });

  test('253 fds in one message', async () => {
    const both = pair({ maxMessageFds: 253 });
    sendBytes(both.left.connection, message(1), new Array(253).fill(files[1]));
    await until(() => both.right.arrivals.length === 1);
    expect(both.right.arrivals[0]!.fds.length).toBe(253);
    expect(() => both.left.connection.send(HEADER, new Array(254).fill(files[1]))).toThrow(RangeError);
    await close(both);
  });

  test('fds that nobody takes, of oversized messages, and of messages that never end, are closed', async () => {
    const both = pair();
    both.right.takes = false;
    sendBytes(both.left.connection, message(1), [files[0]!, files[1]!]);
    const oversized = message(2, LIMITS.maxMessageBytes + 100);
    sendBytes(both.left.connection, oversized.subarray(0, 8), [files[0]!]);
    await turns();
    sendBytes(both.left.connection, oversized.subarray(8, 90), [files[1]!]);
    await turns();
    sendBytes(both.left.connection, oversized.subarray(90), [files[2]!]);
    sendBytes(both.left.connection, message(3, 50).subarray(0, 30), [files[2]!]);
    await turns();
    expect([both.right.ids, both.right.oversized]).toEqual([[1], [oversized.length]]);
    await close(both);
  });

  test('an fd that is none is the caller’s mistake: EBADF, and the connection goes on', async () => {
    const both = pair();
    sendBytes(both.left.connection, message(1));
    const gone = sys.dup(files[0]!);
    sys.close(gone);
    expect(() => both.left.connection.send(HEADER, [gone])).toThrow(
      expect.objectContaining({ code: 'EBADF' }),
    );
    sendBytes(both.left.connection, message(2));
    await until(() => both.right.arrivals.length === 2);
    expect(both.right.ids).toEqual([1, 2]);
    await close(both);
  });
}

function ending(): void {
  test('the peer closes: told once, after its last messages', async () => {
    const both = pair();
    sendBytes(both.left.connection, message(1));
    sendBytes(both.left.connection, message(2, 40).subarray(0, 39));
    both.left.connection.close();
    await until(() => both.right.ends.length === 1);
    expect(both.right.ids).toEqual([1]);
    expect(both.right.ends).toEqual([{ reason: 'the peer closed the connection', errno: 0 }]);
    expect(both.right.connection.closed).toBe(true);
    both.right.connection.send(HEADER);
    both.right.connection.close();
    await turns();
    expect([both.right.ends.length, both.left.ends.length]).toEqual([1, 0]);
  });

  test.each([0, 1, 15])(
    'a message of size %i ends the connection, after what came before it',
    async (size) => {
      const both = pair();
      const bad = message(2);
      new DataView(bad.buffer).setUint32(4, size, true);
      sendBytes(both.left.connection, joined(message(1), bad, message(3)));
      await until(() => both.right.ends.length === 1);
      expect(both.right.ids).toEqual([1]);
      expect(both.right.ends[0]).toMatchObject({
        errno: EPROTO,
        reason: expect.stringContaining('smaller than its header'),
      });
      await finish(both);
    },
  );

  test('closing inside the handler drops the reply and tells nobody', async () => {
    const both = pair();
    both.right.reply = (recorder) => {
      recorder.connection.close();
      return HEADER;
    };
    sendBytes(both.left.connection, joined(message(1), message(2, 30).subarray(0, 20)));
    await until(() => both.left.ends.length === 1);
    expect([both.right.ids, both.right.ends, both.left.ids]).toEqual([[1], [], []]);
    await finish(both);
  });

  test('a connection opened inside a handler works, also in place of the one closed there', async () => {
    const both = pair();
    let inner: Pair | null = null;
    both.right.reply = (recorder) => {
      recorder.connection.close();
      inner = pair();
      sendBytes(inner.left.connection, message(9));
      return 0;
    };
    sendBytes(both.left.connection, message(1));
    await until(() => inner !== null && inner.right.arrivals.length === 1);
    expect(inner!.right.ids).toEqual([9]);
    await finish(inner!);
    await finish(both);
  });

  test('sending to a peer that is gone ends the connection, but not inside send', async () => {
    const [a, b] = sys.socketpair();
    const left = record(sys, a);
    sys.close(b);
    sendBytes(left.connection, message(1));
    sendBytes(left.connection, message(2));
    expect(left.ends).toEqual([]);
    await until(() => left.ends.length === 1);
    await turns();
    expect(left.ends).toHaveLength(1);
    expect(left.connection.closed).toBe(true);
  });
}

function sending(): void {
  test('the reply goes out before a promise continuation can overwrite it', async () => {
    const both = pair();
    both.right.reply = (recorder) => {
      const { connection } = recorder;
      void Promise.resolve().then(() => sendBytes(connection, message(8, 32)));
      connection.sendingBytes.set(message(7, 32));
      return 32;
    };
    sendBytes(both.left.connection, message(1));
    await until(() => both.left.arrivals.length === 2);
    expect(both.left.arrivals.map((each) => each.bytes)).toEqual([message(7, 32), message(8, 32)]);
    await finish(both);
  });

  test('requests and replies go back and forth', async () => {
    const both = pair();
    const bounce = (recorder: Recorder): number => {
      if (recorder.arrivals.length >= 500) return 0;
      recorder.connection.sendingBytes.set(message(recorder.arrivals.length, 20));
      return 20;
    };
    both.left.reply = bounce;
    both.right.reply = bounce;
    sendBytes(both.left.connection, message(0));
    await until(() => both.left.arrivals.length === 499 && both.right.arrivals.length === 500);
    await finish(both);
  });

  /** Fills the socket of `left` until something has to wait. Returns how many messages were sent. */
  function fill(left: Recorder, first = 0, passed: readonly number[] = []): number {
    let id = first;
    while (left.connection.queuedBytes === 0) sendBytes(left.connection, message(id++, 4000), passed);
    return id;
  }

  test('what the peer does not take yet waits, with its fds, and arrives in order', async () => {
    const [a, b] = sys.socketpair();
    const left = record(sys, a);
    const file = sys.memfdCreate('queued');
    const count = fill(left) + 3;
    for (let id = count - 3; id < count; id++) sendBytes(left.connection, message(id, 4000), [file, file]);
    expect(left.connection.queuedBytes).toBeGreaterThan(3 * 4000 - 1);
    sys.close(file);
    const right = record(sys, b);
    await until(() => right.arrivals.length === count);
    expect(right.arrivals.every((each, id) => same(each.bytes, message(id, 4000)))).toBe(true);
    expect(right.arrivals.map((each) => each.fds.length)).toEqual([...new Array(count - 3).fill(0), 2, 2, 2]);
    expect(left.connection.queuedBytes).toBe(0);
    for (const arrival of right.arrivals) for (const fd of arrival.fds) sys.close(fd);
    await finish({ left, right });
  });

  test('fds of a message that waited are not taken for those of the plain messages behind it', async () => {
    const [a, b] = sys.socketpair();
    const left = record(sys, a);
    const file = sys.memfdCreate('queued');
    const first = fill(left);
    for (let id = first; id < first + 4; id++)
      sendBytes(left.connection, message(id), id === first + 1 ? [file] : []);
    sys.close(file);
    const right = record(sys, b);
    await until(() => right.arrivals.length === first + 4);
    expect(right.arrivals.slice(first).map((each) => each.fds.length)).toEqual([0, 1, 0, 0]);
    for (const arrival of right.arrivals) for (const fd of arrival.fds) sys.close(fd);
    await finish({ left, right });
  });

  test.each([
    ['nothing is read', false, 0],
    ['unless it was asked for', true, 1],
  ])('while something waits: %s', async (_, readWhileBlocked, early) => {
    const [a, b] = sys.socketpair();
    const left = record(sys, a, { readWhileBlocked });
    const count = fill(left);
    const writer = record(sys, sys.dup(b));
    sendBytes(writer.connection, message(5));
    writer.connection.close();
    await turns(10);
    expect(left.arrivals.length).toBe(early);
    const right = record(sys, b);
    await until(() => right.arrivals.length === count && left.arrivals.length === 1);
    expect(left.ids).toEqual([5]);
    await finish({ left, right });
  });

  test('more than sendQueueBytes ends the connection', async () => {
    const [a, b] = sys.socketpair();
    const left = record(sys, a, { sendQueueBytes: 100_000 });
    const file = sys.memfdCreate('queued');
    for (let id = fill(left, 0, [file]); id < 1000; id++)
      sendBytes(left.connection, message(id, 4000), [file]);
    expect(left.ends).toEqual([]);
    await until(() => left.ends.length === 1);
    expect(left.ends[0]).toMatchObject({ errno: EAGAIN, reason: expect.stringContaining('does not read') });
    sys.close(file);
    sys.close(b);
  });

  test('closing drops what waits, and its fds', async () => {
    const [a, b] = sys.socketpair();
    const left = record(sys, a);
    const file = sys.memfdCreate('queued');
    fill(left, 0, [file]);
    left.connection.close();
    sys.close(file);
    sys.close(b);
    await turns();
  });
}
