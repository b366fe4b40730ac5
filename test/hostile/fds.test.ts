/*
 * R10 against open files: a client gets its share of what the process may have, and no message of it costs more.
 */
import { writeSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { openSys } from '../../src/sys/index.ts';
import { concat } from '../support/bytes.ts';
import { dmaMap, message, type RawClient, setIrqs, version } from '../support/raw-client.ts';
import { MSIX, MSIX_VECTORS } from '../support/test-device.ts';
import { Attack, pause } from './attack.ts';
import { CONVERSATION } from './conversation.ts';

const DMA_MAP = 2;
const SET_IRQS = 8;
const EVENTFD_TRIGGER = 0x24;
const ENOSPC = 28;
const PAGE = 4096;
const MAX_OPEN_FILES = 200;
/** Half of the limit is for peers, and the only one of them may have half of that. */
const SHARE = MAX_OPEN_FILES / 4;

const sys = openSys();
let attack: Attack;
afterEach(() => attack.target.stop());

function newFile(): number {
  const file = sys.memfdCreate('one of many');
  sys.ftruncate(file, PAGE);
  return file;
}

/** Maps files of its own until one is refused; returns how many went well, and the errno. */
async function mapAll(client: RawClient, most = 10_000): Promise<{ mapped: number; errno: number }> {
  for (let mapped = 0; mapped < most; mapped++) {
    const file = newFile();
    const errno = await client.errno(DMA_MAP, dmaMap(PAGE * mapped, PAGE), [file]);
    sys.close(file);
    if (errno !== 0) return { mapped, errno };
  }
  return { mapped: most, errno: 0 };
}

describe('a client', () => {
  test('that maps file after file is refused when it holds its share, and goes on with those', async () => {
    attack = await Attack.begin(MAX_OPEN_FILES);
    const client = await attack.client();
    expect(await mapAll(client)).toEqual({ mapped: SHARE, errno: ENOSPC });
    // Eventfds come out of the same share.
    const eventfds = Array.from({ length: MSIX_VECTORS }, () => sys.eventfd());
    expect(await client.errno(SET_IRQS, setIrqs(EVENTFD_TRIGGER, MSIX, 0, MSIX_VECTORS), eventfds)).toBe(
      ENOSPC,
    );
    for (const fd of eventfds) sys.close(fd);
    expect(await client.errno(3, CONVERSATION.at(-1)!.bytes.subarray(16))).toBe(0);
    expect((await mapAll(client, 10)).errno).toBe(0);
    client.close();
    await attack.end();
  });

  test('that comes after such a one gets its share too', async () => {
    attack = await Attack.begin(MAX_OPEN_FILES);
    const { mapped } = await mapAll(await attack.client());
    const { served } = await attack.witness.stop();
    expect(served).toBeGreaterThan(0);
    const other = await attack.witnessClient();
    const second = await mapAll(other);
    expect([mapped, second.mapped]).toEqual([SHARE, SHARE / 2]);
    other.close();
  });

  test('that never reads makes the process keep no fds for it', async () => {
    attack = await Attack.begin();
    const before = attack.target.openFds;
    const fd = sys.connect(attack.target.victimPath);
    writeSync(fd, message(1, 1, version('{"capabilities":{"max_msg_fds":16}}')));
    const ask = CONVERSATION[4]!.bytes;
    const asks = concat(...Array.from({ length: 2000 }, () => ask));
    let sent = 0;
    for (let tries = 0; tries < 40; tries++) {
      try {
        sent += writeSync(fd, asks, sent % ask.length);
      } catch {
        await pause(10); // the socket is full
      }
    }
    expect(sent).toBeGreaterThan(1000 * ask.length);
    // Its connection, and the reply that waits.
    expect(attack.target.openFds - before).toBeLessThan(5);
    sys.close(fd);
    await attack.end();
  });
});
