/*
 * A device whose handlers are at work, or hang, when a new instance takes its place.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { concat, read, u32, u64 } from '../../test/support/bytes.ts';
import { Card, SLOW } from '../../test/support/card.ts';
import { access, type RawClient } from '../../test/support/raw-client.ts';
import { type Served, serveDevice } from '../../test/support/served-device.ts';
import { ERRNO } from '../abi/index.ts';

const READ = 9;
const WRITE = 10;
const RESET = 13;
const WRITE_MULTI = 15;

let served: Served<Card>;
let client: RawClient;

async function serveCard(card: Card): Promise<void> {
  // No answer in this file comes because a handler took too long for its client.
  served = await serveDevice(card, { replyTimeoutMs: 600_000 });
  client = await served.open();
}

afterEach(async () => {
  served.server.device.release();
  await served.close();
});

async function peek(region: number, offset: number): Promise<number> {
  return read((await client.request(READ, access(region, offset, 4))).body, 16, 4);
}

async function write(region: number, offset: number, data: Uint8Array): Promise<void> {
  await client.request(WRITE, access(region, offset, data.length, data));
}

/** One write of a REGION_WRITE_MULTI. */
function one(region: number, offset: number): Uint8Array {
  return concat(u64(offset), u32(region), u32(4), u32(0x5a), u32(0));
}

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

describe('a handler that is still at work', () => {
  test('may finish; later commands go to the new device', async () => {
    const old = new Card(1);
    await serveCard(old);
    let open = (): void => {};
    old.gate = new Promise((resolve) => {
      open = resolve;
    });
    const slow = peek(4, SLOW);
    await settle();
    const replaced = served.server.replaceDevice(new Card(2));
    const later = peek(4, SLOW);
    await settle();
    open();
    expect([await slow, await replaced, await later]).toEqual([1, 'reset', 2]);
  });

  test('gets an error for an answer when a read hangs, and its late answer goes nowhere', async () => {
    const old = new Card(1);
    await serveCard(old);
    const stalls: string[] = [];
    served.server.on('stall', ({ outcome, text }) => stalls.push(`${outcome}: ${text}`));
    let open = (): void => {};
    old.gate = new Promise((resolve) => {
      open = resolve;
    });
    const slow = client.errno(READ, access(4, SLOW, 4));
    await settle();
    await served.server.replaceDevice(new Card(2));
    expect(await slow).toBe(ERRNO.EIO);
    expect(stalls).toEqual([expect.stringMatching(/^failed: REGION_READ .* when the device was replaced/)]);
    open();
    expect(await peek(4, SLOW)).toBe(2);
    await settle();
    expect(client.strays).toEqual([]);
  });

  test.each([
    ['a write', WRITE, access(4, SLOW, 4, u32(1))],
    ['writes of one message', WRITE_MULTI, concat(u64(2), one(4, SLOW), one(0, 4))],
  ])(
    'counts as done when %s hangs; later ones go to the new device, to the same bytes too',
    async (...given) => {
      const [, command, body] = given;
      const old = new Card(1);
      await serveCard(old);
      let open = (): void => {};
      old.gate = new Promise((resolve) => {
        open = resolve;
      });
      const slow = client.errno(command, body);
      await settle();
      const next = new Card(2);
      await served.server.replaceDevice(next);
      expect(await slow).toBe(0);
      await write(4, SLOW, u32(1));
      expect(next.calls).toContain(`write ${SLOW}`);
      if (command === WRITE_MULTI) expect(await peek(0, 4)).toBe(0x5a);
      await client.request(RESET, new Uint8Array(0));
      expect([await peek(4, 0), client.strays]).toEqual([2, []]);
      open();
      await settle();
      expect(served.server.session!.busy()).toBeNull();
    },
  );

  test('for a client that has left does not keep the next one waiting', async () => {
    const old = new Card(1);
    await serveCard(old);
    old.gate = new Promise(() => {});
    client.post(READ, access(4, SLOW, 4));
    await settle();
    client.close();
    await settle();
    const opened = served.open();
    await served.server.replaceDevice(new Card(2));
    client = await opened;
    expect(await peek(0, 0)).toBe(2);
  });

  test('of a reset that hangs: the reset fails, and the new device is in none', async () => {
    class Hanging extends Card {
      open = (): void => {};
      protected override onReset(): Promise<void> {
        return new Promise((resolve) => {
          this.open = resolve;
        });
      }
    }
    const old = new Hanging(1);
    await serveCard(old);
    const reset = client.errno(RESET, new Uint8Array(0));
    await settle();
    await served.server.replaceDevice(new Card(2));
    expect(await reset).toBe(ERRNO.ETIMEDOUT);
    old.open();
    expect(await peek(0, 0)).toBe(2);
    await settle();
    expect(client.strays).toEqual([]);
  });
});
