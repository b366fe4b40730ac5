/*
 * R10 against work: a client that asks for much at once waits for it; clients of other devices do not.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { openSys } from '../../src/sys/index.ts';
import { concat, read, u32 } from '../support/bytes.ts';
import { access, message, NO_REPLY } from '../support/raw-client.ts';
import { BAR2_BYTES, REGISTER } from '../support/test-device.ts';
import { Attack } from './attack.ts';
import { CONVERSATION } from './conversation.ts';

const REGION_INFO = 5;
const READ = 9;
const WRITE = 10;
const RESET = 13;
const PAGE = 4096;

const sys = openSys();
let attack: Attack;
afterEach(() => attack.target.stop());

describe('a client that sends thousands of commands at once', () => {
  test('which take milliseconds each, delays nobody else by more than a few', async () => {
    attack = await Attack.begin();
    const client = await attack.client();
    const [fd] = (await client.request(REGION_INFO, CONVERSATION[4]!.bytes.subarray(16))).fds;
    // A reset copies every populated page of a region whose fd was given away, out and in again.
    for (let at = 0; at < BAR2_BYTES; at += PAGE) sys.pwrite(fd!, Uint8Array.of(1), 0, 1, 2 * 2 ** 40 + at);
    sys.close(fd!);
    const resets = Array.from({ length: 2000 }, (_, id) => message(RESET, id, new Uint8Array(0)));
    const replies = resets.map((_, id) => client.reply(id, RESET));
    client.send(concat(...resets));
    for (const reply of await Promise.all(replies)) expect(reply.errno).toBe(0);
    client.close();
    await attack.end(1000);
  });

  test('and wants no replies, loses none of them', async () => {
    attack = await Attack.begin();
    const client = await attack.client();
    const writes = Array.from({ length: 10_000 }, (_, i) =>
      message(WRITE, 0, access(0, REGISTER.STATUS + 0x100, 4, u32(i)), NO_REPLY),
    );
    for (let round = 0; round < 20; round++) client.send(concat(...writes));
    const reply = await client.request(READ, access(0, REGISTER.STATUS + 0x100, 4));
    expect(read(reply.body, 16, 4)).toBe(9999);
    client.close();
    await attack.end();
  });
});
