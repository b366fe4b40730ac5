/*
 * What a test does to PCI devices in a guest, in words; test/vm/guest/pci.c does it. Devices are given by their place in
 * `serve`.
 */
import type { Machine } from './machine.ts';

const COMMAND = 0x04;
const COMMAND_MEMORY = 0x2;
const COMMAND_MASTER = 0x4;
const BAR0 = 0x10;
const CAPABILITY_LIST = 0x34;

/** What memory looks like beside a pattern. */
export type Comparison = 'same' | 'zeros' | 'different';

export class PciShell {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** The device's folder in the guest's sysfs. */
  folder(device: number): string {
    return `/sys/bus/pci/devices/${this.#machine.address(device)}`;
  }

  /** Waits until the guest's kernel has found a device that was plugged in. */
  async appears(device: number): Promise<void> {
    await this.#machine.guest.run(`until [ -e ${this.folder(device)}/resource0 ]; do sleep 0.1; done`);
  }

  /** Memory decode and bus mastering on. */
  async enable(device: number): Promise<void> {
    await this.write(device, 'config', COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER);
  }

  /** Memory decode on or off; bus mastering stays on. */
  async decode(device: number, on: boolean): Promise<void> {
    await this.write(device, 'config', COMMAND, 2, COMMAND_MASTER | (on ? COMMAND_MEMORY : 0));
  }

  async read(device: number, where: 'config' | number, offset: number, width: number): Promise<number> {
    return Number(await this.#pci(`read ${this.#machine.address(device)} ${where} ${offset} ${width}`));
  }

  async write(
    device: number,
    where: 'config' | number,
    offset: number,
    width: number,
    value: number | bigint,
  ): Promise<void> {
    await this.#pci(`write ${this.#machine.address(device)} ${where} ${offset} ${width} ${value}`);
  }

  /** Where in config space the capability is. */
  async capability(device: number, id: number): Promise<number> {
    let at = await this.read(device, 'config', CAPABILITY_LIST, 1);
    while (at !== 0 && (await this.read(device, 'config', at, 1)) !== id) {
      at = await this.read(device, 'config', at + 1, 1);
    }
    if (at === 0) throw new Error(`device ${device} has no capability ${id}`);
    return at;
  }

  /** Where the guest's kernel has put the BAR. */
  async barAddress(device: number, bar: number): Promise<bigint> {
    return BigInt(await this.#pci(`address ${this.#machine.address(device)} ${bar}`));
  }

  /** Puts a 64-bit memory BAR somewhere else, as firmware would. The guest's kernel does not learn of it. */
  async moveBar(device: number, bar: number, address: bigint): Promise<void> {
    await this.decode(device, false);
    await this.write(device, 'config', BAR0 + 4 * bar, 4, address & 0xffff_ffffn);
    await this.write(device, 'config', BAR0 + 4 * bar + 4, 4, address >> 32n);
    await this.decode(device, true);
  }

  /** The CPU writes a pattern to a BAR. */
  async fill(device: number, bar: number, offset: number, size: number, seed: number): Promise<void> {
    await this.#pci(`fill ${this.#machine.address(device)} ${bar} ${offset} ${size} ${seed}`);
  }

  /** The CPU compares a BAR with a pattern. */
  async check(device: number, bar: number, offset: number, size: number, seed: number): Promise<Comparison> {
    return this.#compare(`check ${this.#machine.address(device)} ${bar} ${offset} ${size} ${seed}`);
  }

  /** An edu writes a pattern to a bus address. */
  async put(edu: number, address: number | bigint, size: number, seed: number): Promise<void> {
    await this.#pci(`put ${this.#machine.address(edu)} ${address} ${size} ${seed}`);
  }

  /** An edu reads from a bus address, and what it read is compared with a pattern. */
  async get(edu: number, address: number | bigint, size: number, seed: number): Promise<Comparison> {
    return this.#compare(`get ${this.#machine.address(edu)} ${address} ${size} ${seed}`);
  }

  /** What an edu reads from a bus address, in hex. */
  dump(edu: number, address: number | bigint, size: number): Promise<string> {
    return this.#pci(`dump ${this.#machine.address(edu)} ${address} ${size}`);
  }

  async #compare(words: string): Promise<Comparison> {
    return (await this.#pci(words)) as Comparison;
  }

  #pci(words: string): Promise<string> {
    return this.#machine.guest.run(`pci ${words}`);
  }
}
