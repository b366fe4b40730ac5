/*
 * The pseudo terminal as the other end, over the system layer's fake: 4096 bytes of room each way.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Serial } from '../../devices/serial/device.ts';
import { FakeSys } from '../../sys/index.ts';
import { PtyEnd } from './pty-end.ts';

const [RBR, THR, FCR, LCR, MCR, LSR, MSR] = [0, 0, 2, 3, 4, 5, 6];
const LINK = '/fake/tty';

describe('PtyEnd', () => {
  const view = new DataView(new ArrayBuffer(1));
  let sys: FakeSys;
  let serial: Serial;
  let end: PtyEnd;
  /** Somebody who has the terminal open. */
  let user: number;

  function read(offset: number): number {
    serial.region(0).read(offset, 1, view, 0);
    return view.getUint8(0);
  }

  function write(offset: number, value: number): void {
    view.setUint8(0, value);
    serial.region(0).write(offset, 1, view, 0);
  }

  function userReads(): number[] {
    const bytes = new Uint8Array(8192);
    return [...bytes.subarray(0, Math.max(0, sys.read(user, bytes, 0, bytes.length)))];
  }

  /** What the guest reads until nothing more comes. */
  async function guestReads(): Promise<number[]> {
    const bytes: number[] = [];
    for (let quiet = 0; quiet < 20; ) {
      if ((read(LSR) & 1) === 0) {
        quiet += 1;
        await new Promise((resolve) => setTimeout(resolve, 2));
        continue;
      }
      quiet = 0;
      bytes.push(read(RBR));
    }
    return bytes;
  }

  const numbers = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, i) => (i * 7) % 256);

  beforeEach(() => {
    sys = new FakeSys();
    serial = new Serial();
    serial.opened();
    end = new PtyEnd(sys, serial.line, LINK);
    user = sys.openTerminal(end.path);
    write(LCR, 0x03);
    write(FCR, 0x01);
    write(MCR, 0x0b);
  });

  afterEach(() => {
    end.close();
    end.close();
    expect(() => sys.symlink(end.path, LINK), 'the link is gone').not.toThrow();
    sys.close(user);
    expect(sys.openFds).toBe(0);
    expect(sys.counts().watchers).toBe(0);
  });

  it('carries bytes both ways', async () => {
    write(THR, 0x68);
    write(THR, 0x69);
    expect(userReads()).toEqual([0x68, 0x69]);
    sys.write(user, numbers(100), 0, 100);
    expect(await guestReads()).toEqual([...numbers(100)]);
  });

  it('gives in bursts: a guest that has emptied the FIFO finds it empty', async () => {
    sys.write(user, numbers(100), 0, 100);
    while ((read(LSR) & 1) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const burst: number[] = [];
    while ((read(LSR) & 1) === 1 && burst.length < 100) burst.push(read(RBR));
    expect(burst).toEqual([...numbers(16)]);
    expect(await guestReads()).toEqual([...numbers(100).subarray(16)]);
  });

  it('keeps what nobody reads up to the room of the terminal, then CTS is down', async () => {
    const sent: number[] = [];
    for (let i = 0; (read(MSR) & 0x10) !== 0; i++) {
      sent.push(i % 256);
      write(THR, i % 256);
      expect(i).toBeLessThan(10_000);
    }
    expect(sent.length).toBe(4097);
    // A guest that heeds CTS may close the port now, and the chip's FIFOs are emptied: nothing waits there.
    expect(read(LSR) & 0x60).toBe(0x60);
    write(FCR, 0x00);
    expect(userReads()).toEqual(sent.slice(0, 4096));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(read(MSR) & 0x10).toBe(0x10);
    expect(userReads()).toEqual(sent.slice(4096));
  });

  it('makes a guest that does not heed CTS wait, and loses nothing either', async () => {
    const sent: number[] = [];
    for (let i = 0; (read(LSR) & 0x20) !== 0; i++) {
      sent.push(i % 253);
      write(THR, i % 253);
      expect(i).toBeLessThan(10_000);
    }
    expect(sent.length).toBe(4096 + 1024 + 1);
    const got: number[] = [];
    for (let i = 0; i < 10; i++) {
      got.push(...userReads());
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(got).toEqual(sent);
    expect(read(LSR) & 0x20).toBe(0x20);
    expect(read(MSR) & 0x10).toBe(0x10);
  });

  it('keeps what the guest does not take, then whoever writes waits', async () => {
    write(MCR, 0x09);
    const sent: number[] = [];
    for (let i = 0; i < 40; i++) {
      const block = numbers(1000).map((byte) => byte + i);
      const taken = sys.write(user, block, 0, block.length);
      sent.push(...block.subarray(0, Math.max(0, taken)));
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    // The chunk is the first block; the rest of the terminal's room is behind it.
    expect(sent.length).toBe(1000 + 4096);
    expect(sys.counts().watchers).toBe(0);
    write(MCR, 0x0b);
    expect(await guestReads()).toEqual(sent);
  });

  it('fails without leaving anything when there is no place for the link', () => {
    const before = sys.openFds;
    expect(() => new PtyEnd(sys, serial.line, LINK)).toThrow(expect.objectContaining({ code: 'EEXIST' }));
    expect(sys.openFds).toBe(before);
  });

  it('pulls the plug when it is closed', () => {
    expect(read(MSR) & 0xb0).toBe(0xb0);
    end.close();
    expect(read(MSR) & 0xb0).toBe(0);
    write(THR, 1);
    expect(read(LSR) & 0x20).toBe(0x20);
  });
});
