/*
 * R10 against eventfds: the open file behind them is the client's too, with its O_NONBLOCK and its counter.
 */
import { writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openSys } from '../../src/sys/index.ts';
import { setIrqs } from '../support/raw-client.ts';
import { Attack, fill, makeBlocking } from './attack.ts';

const SET_IRQS = 8;
const TRIGGER_EVENTFD = 0x24;
const TRIGGER_NONE = 0x21;
const MSIX = 2;

const sys = openSys();

describe('an eventfd', () => {
  let eventfd: number;

  beforeEach(() => {
    eventfd = sys.eventfd();
  });
  afterEach(() => sys.close(eventfd));

  test('that is full and was made blocking does not stop the process that signals it', async () => {
    const attack = await Attack.begin();
    try {
      const client = await attack.client();
      await client.request(SET_IRQS, setIrqs(TRIGGER_EVENTFD, MSIX, 0, 1), [eventfd]);
      makeBlocking(eventfd);
      fill(eventfd);
      for (let i = 0; i < 200; i++)
        expect(await client.errno(SET_IRQS, setIrqs(TRIGGER_NONE, MSIX, 0, 1))).toBe(0);
      client.close();
      await attack.end();
    } finally {
      attack.target.stop();
    }
  });

  test('that is empty and was made blocking does not stop who reads it', () => {
    makeBlocking(eventfd);
    expect(sys.eventfdRead(eventfd)).toBe(0);
    sys.eventfdSignal(eventfd);
    expect(sys.eventfdRead(eventfd)).toBe(1);
  });

  test('counts every signal, however many', () => {
    for (let i = 0; i < 1000; i++) sys.eventfdSignal(eventfd);
    expect(sys.eventfdRead(eventfd)).toBe(1000);
  });

  test('canary: a write to a full, blocking eventfd waits', async () => {
    fill(eventfd);
    expect(() => writeSync(eventfd, new Uint8Array(8).fill(1, 0, 1))).toThrow('EAGAIN');
  });
});
