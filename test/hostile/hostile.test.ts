/*
 * R10: whatever one client does, the process, its other sessions and its other devices go on, and nothing is left behind.
 * Each attack runs against a server process of its own, with an honest client on another device beside it.
 */
import { writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openSys } from '../../src/sys/index.ts';
import { concat, read, u32 } from '../support/bytes.ts';
import { access, dmaMap, message, NO_REPLY, RawClient, version } from '../support/raw-client.ts';
import { REGISTER } from '../support/test-device.ts';
import { CONVERSATION, IOVA, type Line, MEMORY_BYTES } from './conversation.ts';
import { random } from './random.ts';
import { Target, Witness } from './target.ts';

const READ = 9;
const WRITE = 10;
const EBUSY = 16;
const EIO = 5;
const EINVAL = 22;

const sys = openSys();
let target: Target;
let witness: Witness;
let memory: number;
let eventfd: number;

async function begin(maxOpenFiles?: number): Promise<void> {
  target = await Target.start(maxOpenFiles);
  await warmUp();
  await target.remember();
  witness = await Witness.start(target);
}

/** One honest session, so that what is made once is there before anything is counted. */
async function warmUp(): Promise<void> {
  for (let i = 0; i < 2; i++) {
    const client = await RawClient.open(target.victimPath);
    await client.request(2, dmaMap(IOVA, MEMORY_BYTES), [memory]);
    for (const { bytes } of CONVERSATION.filter(({ bytes }) => bytes[2] === 5)) {
      for (const fd of (await client.request(5, bytes.subarray(16))).fds) sys.close(fd);
    }
    await client.request(WRITE, access(0, REGISTER.FETCH, 4, u32(IOVA)));
    await client.request(READ, access(2, 0, 4));
    client.close();
    while ((await target.holdings()).attached) await pause(5);
  }
}

/** The end of every attack: the witness was served, the victim serves the next client, nothing is left. */
async function end(): Promise<void> {
  const { served, slowestMs } = await witness.stop();
  expect(served).toBeGreaterThan(0);
  expect(slowestMs).toBeLessThan(2000);
  const client = await RawClient.open(target.victimPath);
  expect(await client.errno(READ, access(0, 0, 4))).toBe(0);
  client.close();
  expect(await target.leaks()).toEqual([]);
  expect(target.exit).toBeNull();
  expect(target.errors).toBe('');
}

beforeEach(() => {
  memory = sys.memfdCreate('hostile');
  sys.ftruncate(memory, MEMORY_BYTES);
  eventfd = sys.eventfd();
});
afterEach(() => {
  target.stop();
  sys.close(memory);
  sys.close(eventfd);
});

/** Connects when the queue of the listening socket has room again. */
async function connect(): Promise<RawClient> {
  for (;;) {
    try {
      return RawClient.connect(target.victimPath);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await pause(1);
    }
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const fdsOf = ({ fd }: Line): number[] => (fd === null ? [] : [fd === 'memory' ? memory : eventfd]);

describe('a hostile client', () => {
  test('closes at every byte of every message of a conversation', async () => {
    await begin();
    for (let cut = 0; cut < CONVERSATION.length; cut++) {
      for (let bytes = 0; bytes < CONVERSATION[cut]!.bytes.length; bytes++) {
        const client = await connect();
        for (const line of CONVERSATION.slice(0, cut)) client.send(line.bytes, fdsOf(line));
        if (bytes > 0) client.send(CONVERSATION[cut]!.bytes.subarray(0, bytes), fdsOf(CONVERSATION[cut]!));
        // Every other time the server is in the middle of it.
        if (bytes % 2 === 0) await pause(0);
        client.close();
      }
    }
    await end();
  });

  test('sends 10,000 random and spoiled messages', async () => {
    await begin();
    const dice = random(20260727);
    let client = await connect();
    let isOpen = false;
    let sentOnThis = 0;
    for (let sent = 0; sent < 10_000; sent++) {
      if (!isOpen) {
        const opened = await connect();
        client = opened;
        isOpen = true;
        sentOnThis = 0;
        void opened.closed.then(() => {
          if (client === opened) isOpen = false;
        });
        if (dice.chance(0.95))
          opened.send(message(1, 0, version('{"capabilities":{"write_multiple":true}}')));
      }
      const line = dice.pick(CONVERSATION);
      const fds = dice.chance(0.8) ? fdsOf(line) : dice.times(3, () => dice.pick([memory, eventfd]));
      client.send(dice.spoil(line.bytes), fds);
      sentOnThis += 1;
      if (sent % 20 === 0) await pause(0);
      if (sentOnThis > 200 || dice.chance(0.01)) {
        client.close();
        isOpen = false;
      }
    }
    client.close();
    await end();
    // Most of it got through to a session: otherwise nothing was tested.
    expect((await target.holdings()).sessions).toBeGreaterThan(50);
  });

  test('sends more fds than anybody wants', async () => {
    await begin(400);
    const client = await RawClient.open(target.victimPath);
    const many = new Array<number>(253).fill(eventfd);
    const setIrqs = CONVERSATION.find(({ bytes }) => bytes[2] === 8)!.bytes;
    const errnos: Promise<number>[] = [];
    for (let i = 0; i < 20; i++) errnos.push(client.errno(8, setIrqs.subarray(16), many));
    expect(await Promise.all(errnos)).toEqual(new Array(20).fill(EINVAL));
    client.close();

    // While the device is at work the fds wait with their messages, up to a limit. It waits for DMA of a client with a twin
    // socket; for others such a write is in the background.
    const flooder = RawClient.connect(target.victimPath);
    const offer = '{"capabilities":{"max_msg_fds":16,"twin_socket":{"supported":true}}}';
    const [twin] = (await flooder.request(1, version(offer))).fds;
    await flooder.request(2, dmaMap(0x40000000, 0x1000));
    flooder.post(WRITE, access(0, REGISTER.FETCH, 4, u32(0x40000000)));
    const sixteen = new Array<number>(16).fill(eventfd);
    for (let i = 0; i < 40; i++) flooder.send(message(8, i, setIrqs.subarray(16), NO_REPLY), sixteen);
    await flooder.closed;
    sys.close(twin!);
    await end();
  });

  test('truncates the memory that the device uses', async () => {
    await begin();
    const client = await RawClient.open(target.victimPath);
    const status = async (): Promise<number> =>
      read((await client.request(READ, access(0, REGISTER.STATUS, 4))).body, 16, 4);
    const touch = async (): Promise<number> =>
      read((await client.request(READ, access(0, REGISTER.TOUCH, 4))).body, 16, 4);
    sys.pwrite(memory, Uint8Array.of(1, 2, 3, 4), 0, 4, 0);
    await client.request(2, dmaMap(IOVA, MEMORY_BYTES), [memory]);
    await client.request(WRITE, access(0, REGISTER.FETCH, 4, u32(IOVA)));
    await client.request(WRITE, access(0, REGISTER.WINDOW, 4, u32(IOVA)));
    expect([await status(), await touch()]).toEqual([0, 0x04030201]);

    sys.ftruncate(memory, 0);
    expect(await touch()).toBe(0);
    await client.request(WRITE, access(0, REGISTER.FETCH, 4, u32(IOVA)));
    expect(await status()).toBe(EIO);

    sys.ftruncate(memory, MEMORY_BYTES);
    sys.pwrite(memory, Uint8Array.of(5), 0, 1, 0);
    await client.request(WRITE, access(0, REGISTER.FETCH, 4, u32(IOVA)));
    expect(await status()).toBe(0);
    client.close();
    await end();
  });

  test("truncates the device's own memory", async () => {
    await begin();
    const client = await RawClient.open(target.victimPath);
    await client.request(WRITE, access(2, 0, 4, u32(0x1234)));
    const info = await client.request(5, CONVERSATION[4]!.bytes.subarray(16));
    sys.ftruncate(info.fds[0]!, 0);
    // The loss is seen with the first or the second access; after that the memory is whole again.
    for (let i = 0; i < 3; i++) await client.ask(READ, access(2, 0, 4));
    expect(await client.errno(WRITE, access(2, 0, 4, u32(0x5678)))).toBe(0);
    const reply = await client.request(READ, access(2, 0, 4));
    expect(read(reply.body, 16, 4)).toBe(0x5678);
    for (const fd of info.fds) sys.close(fd);
    client.close();
    await end();
  });

  test('says nothing: before VERSION, after it, and to what it is asked', async () => {
    await begin();
    const silent = RawClient.connect(target.victimPath);
    await silent.closed;
    const mute = await RawClient.open(target.victimPath);
    await mute.request(2, dmaMap(0x40000000, 0x1000));
    const second = RawClient.connect(target.victimPath);
    expect(await second.errno(1, version('{}'))).toBe(EBUSY);
    // The DMA that it does not answer is given up; the register write that caused it is answered then.
    await mute.request(WRITE, access(0, REGISTER.FETCH, 4, u32(0x40000000)));
    expect(mute.commands).toHaveLength(1);
    mute.close();
    await end();
  });

  test('never reads', async () => {
    await begin();
    const before = (await target.holdings()).rssBytes;
    const fd = sys.connect(target.victimPath);
    writeSync(fd, message(1, 1, version('{}')));
    const request = concat(...Array.from({ length: 16 }, (_, i) => message(READ, i, access(2, 0, 1 << 20))));
    let full = 0;
    for (let round = 0; round < 2000 && full < 20; round++) {
      try {
        writeSync(fd, request);
      } catch (error) {
        // EAGAIN: the server has stopped to read what we send.
        expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
        full += 1;
        await pause(20);
      }
      if (round % 50 === 0) await pause(0);
    }
    expect(full).toBe(20);
    const { rssBytes } = await target.holdings();
    expect(rssBytes - before).toBeLessThan(64 << 20);
    sys.close(fd);
    await end();
  });

  test('canary: a leak is seen', async () => {
    await begin();
    await target.holdings('leak');
    await witness.stop();
    const leaks = await target.leaks(0);
    expect(leaks.map((leak) => leak.split(':')[0])).toEqual([
      'fds (/proc/PID/fd)',
      'mapped files (/proc/PID/maps)',
      'mappings',
    ]);
  });
});
