/*
 * Every command that wants a reply gets exactly one, whatever its handler does, from a client that serves DMA messages
 * only while it waits for no reply.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concat, filled, read, u32, u64 } from '../../test/support/bytes.ts';
import { access, dmaMap, ERROR, message, NO_REPLY, type Received } from '../../test/support/raw-client.ts';
import { ScriptedDevice } from '../../test/support/scripted-device.ts';
import { type Served, serveDevice } from '../../test/support/served-device.ts';
import { ERRNO } from '../abi/index.ts';

const READ = 9;
const WRITE = 10;
const RESET = 13;
const MULTI = 15;
const IOVA = 0x40000000;

/** What a register's handler does; its offset is 16 times the place in this list. */
const HANDLERS = ['plain', 'throws', 'soon', 'late', 'rejects', 'dma', 'dma later', 'too late'] as const;
/** Errors that the handlers, and their taking too long, may lead to. */
const KNOWN_ERRNOS: readonly number[] = [0, ERRNO.EIO, ERRNO.ETIMEDOUT];

interface Sent {
  readonly command: number;
  readonly offset: number;
  readonly wantsReply: boolean;
  /** It goes in one send with the one before. */
  readonly joins: boolean;
}

const commands: fc.Arbitrary<Sent[]> = fc.array(
  fc.record({
    command: fc.oneof(
      { weight: 4, arbitrary: fc.constant(WRITE) },
      { weight: 3, arbitrary: fc.constant(READ) },
      { weight: 2, arbitrary: fc.constant(MULTI) },
      { weight: 1, arbitrary: fc.constant(RESET) },
    ),
    offset: fc.nat(HANDLERS.length - 1).map((kind) => 16 * kind),
    wantsReply: fc.boolean(),
    joins: fc.boolean(),
  }),
  { minLength: 1, maxLength: 25 },
);

/** What is wrong with the replies to commands whose ids are their places. Empty: nothing. */
function judge(sent: readonly Sent[], replies: readonly Received[]): string[] {
  const wrong: string[] = [];
  for (const [id, { command, wantsReply }] of sent.entries()) {
    const own = replies.filter((reply) => reply.id === id);
    if (own.length !== (wantsReply ? 1 : 0)) wrong.push(`${own.length} replies to ${id}`);
    for (const reply of own) {
      if (reply.command !== command) wrong.push(`reply to ${id} is for command ${reply.command}`);
      const errno = (reply.flags & ERROR) !== 0 ? reply.errno : 0;
      if (!KNOWN_ERRNOS.includes(errno)) wrong.push(`errno ${errno} for ${id}`);
    }
  }
  return wrong;
}

function script(device: ScriptedDevice): void {
  const wait = (ms: number): Promise<number> => new Promise((resolve) => setTimeout(resolve, ms, 1));
  const dma = async (): Promise<number> => {
    await device.dma.read(IOVA, new Uint8Array(8));
    return 1;
  };
  const scripts: Record<(typeof HANDLERS)[number], () => number | Promise<number>> = {
    plain: () => 1,
    throws: () => {
      throw new Error('register');
    },
    soon: () => Promise.resolve(1),
    late: () => wait(3),
    rejects: () => wait(1).then(() => Promise.reject(new Error('register'))),
    dma,
    'dma later': () => wait(2).then(dma),
    'too late': () => wait(60),
  };
  for (const [kind, name] of HANDLERS.entries()) device.scripts.set(16 * kind, scripts[name]);
  device.onReset = () => wait(1).then(() => {});
}

function bytesOf({ command, offset, wantsReply }: Sent, id: number): Uint8Array {
  const entry = concat(u64(offset), u32(0), u32(4), u64(id));
  const bodies: Record<number, Uint8Array> = {
    [READ]: access(0, offset, 4),
    [WRITE]: access(0, offset, 4, u32(id)),
    [MULTI]: concat(u64(2), entry, entry),
    [RESET]: new Uint8Array(0),
  };
  return message(command, id, bodies[command]!, wantsReply ? 0 : NO_REPLY);
}

/** Has the conversation and returns every reply that came. */
async function converse(served: Served<ScriptedDevice>, sent: readonly Sent[]): Promise<Received[]> {
  const client = await served.open();
  await client.request(2, dmaMap(IOVA, 0x1000));
  const replies: Received[] = [];
  const late: Received[] = [];
  let unanswered = 0;
  const serveDma = (): void => {
    if (unanswered > 0) return;
    for (const dma of late.splice(0)) {
      client.answer(dma, concat(dma.body, filled(read(dma.body, 8, 8))));
    }
  };
  client.onCommand = (command) => {
    late.push(command);
    serveDma();
    return true;
  };
  const all: Promise<unknown>[] = [];
  let batch: Uint8Array[] = [];
  for (const [id, one] of sent.entries()) {
    if (!one.joins) {
      client.send(concat(...batch.splice(0)));
      await Promise.all(all);
    }
    if (one.wantsReply) {
      unanswered += 1;
      const reply = client.reply(id, one.command).then((received) => {
        replies.push(received);
        unanswered -= 1;
        serveDma();
      });
      all.push(reply);
    }
    batch.push(bytesOf(one, id));
  }
  client.send(concat(...batch.splice(0)));
  batch = [];
  await Promise.all(all);
  // Whatever is still at work may not answer any more.
  const idle = client.reply(0xffff, READ);
  client.send(message(READ, 0xffff, access(0, 0x800, 4)));
  await idle;
  await new Promise((resolve) => setTimeout(resolve, 70));
  const said = [...replies, ...client.strays];
  client.close();
  return said;
}

const told = { posted: 0, failed: 0 };

/** The replies of a server of its own: what one conversation leaves in the background would delay the next. */
async function repliesTo(sent: readonly Sent[]): Promise<Received[]> {
  const served = await serveDevice(new ScriptedDevice(), { replyTimeoutMs: 30 });
  script(served.device);
  served.server.on('stall', ({ outcome }) => {
    if (outcome === 'posted' || outcome === 'failed') told[outcome] += 1;
  });
  try {
    return await converse(served, sent);
  } finally {
    await served.close();
  }
}

test('exactly one reply to each command', { timeout: 240_000 }, async () => {
  const property = fc.asyncProperty(commands, async (sent) => {
    expect(judge(sent, await repliesTo(sent))).toEqual([]);
  });
  await fc.assert(property, { numRuns: 60 });
  // Otherwise nothing was tested.
  expect(Math.min(told.posted, told.failed)).toBeGreaterThan(0);
});

test('canary: a reply too many, too few, or of another kind is seen', async () => {
  const sent: Sent[] = [WRITE, READ].map((command) => ({
    command,
    offset: 0,
    wantsReply: true,
    joins: false,
  }));
  const replies = await repliesTo(sent);
  expect(judge(sent, replies)).toEqual([]);
  expect(judge(sent, [...replies, replies[1]!])).toEqual(['2 replies to 1']);
  expect(judge(sent, replies.slice(1))).toEqual(['0 replies to 0']);
  expect(judge([{ ...sent[0]!, wantsReply: false }, sent[1]!], replies)).toEqual(['1 replies to 0']);
  const errno = { ...replies[0]!, flags: ERROR + 1, errno: ERRNO.EINVAL };
  expect(judge(sent, [errno, replies[1]!])).toEqual([`errno ${ERRNO.EINVAL} for 0`]);
});
