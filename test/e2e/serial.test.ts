/*
 * `vfio serve serial --pty`: real bytes through a real terminal, driven over the registers by our own client.
 */
import { existsSync, lstatSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type DeviceHandle, openDevice, openSocketFd } from '../../src/client/index.ts';
import { openSys } from '../../src/sys/index.ts';
import { Terminal } from '../support/terminal.ts';
import { inFolder, Serving, vfio } from './support.ts';

const BAR0 = 0;
const [RBR, THR, IER, IIR, FCR, LCR, MCR, LSR] = [0, 0, 1, 2, 2, 3, 4, 5];
const MSI = 1;
/** Longer than any of this takes on a busy machine. */
const TIMEOUT_MS = 60_000;

/** A driver that sleeps between interrupts. */
class Driver {
  readonly received: number[] = [];
  readonly #handle: DeviceHandle;
  #toSend: readonly number[] = [];
  #serving: Promise<void> = Promise.resolve();

  constructor(handle: DeviceHandle) {
    this.#handle = handle;
  }

  async open(): Promise<void> {
    await this.#handle.onInterrupt(MSI, 0, () => {
      this.#serving = this.#serving.then(() => this.#serve());
    });
    await this.write(LCR, 0x03);
    await this.write(FCR, 0x01);
    await this.write(IER, 0x01);
    await this.write(MCR, 0x0b);
  }

  async send(bytes: readonly number[]): Promise<void> {
    this.#toSend = bytes;
    await this.write(IER, 0x03);
  }

  read(offset: number): Promise<number> {
    return this.#handle.readRegister(BAR0, offset, 1);
  }

  write(offset: number, value: number): Promise<void> {
    return this.#handle.writeRegister(BAR0, offset, 1, value);
  }

  async close(): Promise<void> {
    await this.write(MCR, 0);
    await this.write(IER, 0);
    await this.#serving;
    await this.#handle.close();
  }

  async #serve(): Promise<void> {
    while (((await this.read(IIR)) & 1) === 0) {
      while (((await this.read(LSR)) & 0x01) !== 0) this.received.push(await this.read(RBR));
      if (((await this.read(LSR)) & 0x20) === 0) continue;
      const now = this.#toSend.slice(0, 16);
      this.#toSend = this.#toSend.slice(16);
      for (const byte of now) await this.write(THR, byte);
      if (now.length === 0) await this.write(IER, 0x01);
    }
  }
}

const numbers = (count: number, step: number): number[] =>
  Array.from({ length: count }, (_, i) => (i * step) % 256);

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + TIMEOUT_MS;
  while (!condition() && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

describe('vfio serve serial --pty', () => {
  test('tells where the terminal is, keeps a link to it, and takes the link away', async () => {
    await inFolder(async (folder) => {
      const link = join(folder, 'tty');
      const serving = new Serving([`serial:${join(folder, 's.sock')}`, `--pty=${link}`, '--json']);
      const { pty, ptyLink } = await serving.event('ready');
      expect(pty).toMatch(/^\/dev\/pts\/\d+$/);
      expect(ptyLink).toBe(link);
      expect(readlinkSync(link)).toBe(pty);
      expect((await serving.child.stop()).code).toBe(0);
      expect(lstatSync(link, { throwIfNoEntry: false })).toBeUndefined();
    });
  });

  test('says it to people, too', async () => {
    await inFolder(async (folder) => {
      const serving = new Serving([`serial:${join(folder, 's.sock')}`, '--pty']);
      expect(await serving.child.line()).toBe(`serial: ready on ${join(folder, 's.sock')}`);
      expect(await serving.child.line()).toContain('QEMU');
      expect(await serving.child.line()).toMatch(/^ {2}terminal: \/dev\/pts\/\d+$/);
      expect((await serving.child.stop()).code).toBe(0);
    });
  });

  test('leaves a file alone that is where the link should be', async () => {
    await inFolder(async (folder) => {
      const link = join(folder, 'tty');
      writeFileSync(link, '');
      const socket = join(folder, 's.sock');
      const { code, stderr } = vfio(['serve', `serial:${socket}`, `--pty=${link}`]);
      expect(code).toBe(1);
      expect(stderr).toContain('EEXIST');
      expect(stderr).toContain('remove it');
      expect([existsSync(link), existsSync(socket)]).toEqual([true, false]);
    });
  });

  test('carries bytes both ways at once, interrupt by interrupt', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 's.sock');
      const serving = new Serving([`serial:${socket}`, '--pty', '--json']);
      const { pty } = await serving.event('ready');
      const terminal = await Terminal.open(pty as string);
      const driver = new Driver(await openDevice(socket));
      await driver.open();
      const [toGuest, fromGuest] = [numbers(30_000, 7), numbers(30_000, 13)];
      const writing = terminal.write(Uint8Array.from(toGuest));
      await driver.send(fromGuest);
      expect([...(await terminal.read(fromGuest.length))]).toEqual(fromGuest);
      await writing;
      await until(() => driver.received.length >= toGuest.length);
      expect(driver.received).toEqual(toGuest);
      await driver.close();
      await terminal.close();
      expect((await serving.child.stop()).code).toBe(0);
    });
  }, 120_000);

  test('keeps what nobody reads yet, and what is written before a guest is there', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 's.sock');
      const serving = new Serving([`serial:${socket}`, '--pty', '--json']);
      const path = (await serving.event('ready'))['pty'] as string;
      const early = await Terminal.open(path);
      await early.write(Uint8Array.from(numbers(100, 3)));
      await early.close();
      const driver = new Driver(await openDevice(socket));
      await driver.open();
      await until(() => driver.received.length >= 100);
      expect(driver.received).toEqual(numbers(100, 3));
      const more = numbers(40_000, 11);
      await driver.send(more);
      const late = await Terminal.open(path);
      expect([...(await late.read(more.length))]).toEqual(more);
      await driver.close();
      await late.close();
      expect((await serving.child.stop()).code).toBe(0);
    });
  }, 120_000);

  test('ends with the one client of a connected descriptor', async () => {
    const sys = openSys();
    const [ours, theirs] = sys.socketpair();
    const serving = new Serving(['serial', '--fd=3', '--pty', '--json'], [theirs]);
    sys.close(theirs);
    expect(await serving.event('ready')).toMatchObject({
      socket: null,
      pty: expect.stringMatching(/^\/dev\/pts\//),
    });
    const handle = await openSocketFd(ours);
    expect(await handle.readRegister(BAR0, LSR, 1)).toBe(0x60);
    await handle.close();
    await serving.event('stopped');
    expect(await serving.child.ended).toEqual({ code: 0, signal: null });
  });

  test('ends on SIGTERM while the guest waits for a reader and a writer for the guest', async () => {
    await inFolder(async (folder) => {
      const socket = join(folder, 's.sock');
      const serving = new Serving([`serial:${socket}`, '--pty', '--json']);
      const path = (await serving.event('ready'))['pty'] as string;
      const terminal = await Terminal.open(path);
      const handle = await openDevice(socket);
      const write = (offset: number, value: number) => handle.writeRegister(BAR0, offset, 1, value);
      await write(LCR, 0x03);
      await write(FCR, 0x01);
      const ready = async () => ((await handle.readRegister(BAR0, LSR, 1)) & 0x20) !== 0;
      let sent = 0;
      for (; sent < 200_000 && (await ready()); sent++) await write(THR, sent % 256);
      expect(sent).toBeLessThan(200_000);
      expect((await handle.readRegister(BAR0, 6, 1)) & 0x10).toBe(0);
      // More than the terminal takes, so this goes on until the terminal is gone.
      const writing = terminal.write(new Uint8Array(65_536)).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 100));
      serving.child.process.kill('SIGTERM');
      expect(await serving.child.ended).toEqual({ code: 0, signal: null });
      await writing;
      await terminal.close();
      await handle.close().catch(() => {});
    });
  }, 120_000);
});
