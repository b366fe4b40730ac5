/*
 * A machine for one test: `vfio serve` with its devices, and a guest that has them.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Serving } from '../../e2e/support.ts';
import { Guest, type GuestOptions } from './guest.ts';

export interface MachineOptions extends Omit<GuestOptions, 'devices'> {
  /** Devices of `vfio serve`, as on its command line without the sockets: edu, ram, ./module.ts. */
  readonly serve: readonly string[];
  /** More arguments of `vfio serve`. */
  readonly serveArgs?: readonly string[];
  /** Each device in a process of its own, instead of one for all. Default false. */
  readonly apart?: boolean;
  /** Further values of -device, behind the served ones. */
  readonly devices?: readonly string[];
  /** Each device behind a PCI Express root port, so that it can be unplugged and plugged in. Default false. */
  readonly hotplug?: boolean;
  /** Properties of the vfio-user-pci devices in QEMU, by place in `serve`. */
  readonly properties?: readonly Readonly<Record<string, unknown>>[];
}

/** Where in the guest the first device, or the root port that it is behind, is: slots are given out from here. */
const FIRST_SLOT = 4;
/** How much of each trace a failure shows. */
const TRACE_LINES = 20;
/** 64-bit prefetchable memory that firmware keeps free behind a root port for what is plugged in later. */
const HOTPLUG_WINDOW = '64M';

export class Machine {
  guest: Guest;
  /** One for each process that serves. */
  readonly servers: readonly Serving[];
  readonly folder: string;
  readonly #guestOptions: GuestOptions;
  readonly #hotplug: boolean;

  /** Serves the devices, boots a guest that has them, runs `work`, and ends everything. */
  static async run(options: MachineOptions, work: (machine: Machine) => Promise<void>): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'vfio-vm-'));
    const servers: Serving[] = [];
    let machine: Machine | null = null;
    try {
      const sockets = options.serve.map((_, index) => join(folder, `device-${index}.sock`));
      servers.push(...(await startServers(options, folder, sockets)));
      const guestOptions = withDevices(options, sockets);
      const guest = await Guest.boot(folder, guestOptions);
      machine = new Machine(folder, servers, guest, guestOptions, options.hotplug ?? false);
      await work(machine);
    } catch (error) {
      if (machine !== null) (error as Error).message += machine.#circumstances();
      throw error;
    } finally {
      await machine?.guest.kill();
      for (const server of servers) await server.child.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  }

  private constructor(
    folder: string,
    servers: readonly Serving[],
    guest: Guest,
    guestOptions: GuestOptions,
    hotplug: boolean,
  ) {
    this.folder = folder;
    this.servers = servers;
    this.guest = guest;
    this.#guestOptions = guestOptions;
    this.#hotplug = hotplug;
  }

  /** The process that serves, where there is one for all devices. */
  get server(): Serving {
    return this.servers[0]!;
  }

  /** The device's place in the guest, for sysfs: 0000:00:04.0 is the first of `serve`, 0000:01:00.0 behind a root port. */
  address(index: number): string {
    if (this.#hotplug) return `0000:${(index + 1).toString(16).padStart(2, '0')}:00.0`;
    return `0000:00:${(FIRST_SLOT + index).toString(16).padStart(2, '0')}.0`;
  }

  /** Starts another QEMU with the same devices, after the first has ended. */
  async reboot(): Promise<void> {
    this.guest = await Guest.boot(this.folder, this.#guestOptions);
  }

  /** Takes a served device out of the machine, and waits until QEMU has let it go. */
  async unplug(index: number): Promise<void> {
    const id = `device${index}`;
    await this.guest.qmp.execute('device_del', { id });
    const deleted = await this.guest.qmp.event(
      ({ event, data }) => event === 'DEVICE_DELETED' && data?.['device'] === id,
    );
    if (deleted === null) throw new Error(`QEMU ended when ${id} was unplugged`);
  }

  /** Puts a served device in (again). The guest finds it when it looks. */
  async plug(index: number): Promise<void> {
    const path = join(this.folder, `device-${index}.sock`);
    await this.guest.qmp.execute(
      'device_add',
      JSON.parse(vfioUserPci(path, index, this.#hotplug)) as Record<string, unknown>,
    );
  }

  /** DMA_READ and DMA_WRITE that QEMU has received from devices: what goes by messages. */
  get dmaMessages(): number {
    return this.qemuTrace.filter((line) => line.includes('vfio_user_recv_request')).length;
  }

  /** What QEMU has traced so far, a line an event. */
  get qemuTrace(): readonly string[] {
    if (!existsSync(this.guest.tracePath)) return [];
    return readFileSync(this.guest.tracePath, 'utf8').trimEnd().split('\n');
  }

  /** What a server has traced so far, a line a message. It may be a moment behind. */
  serverTrace(index: number = 0): readonly string[] {
    const path = serverTrace(this.folder, index);
    return existsSync(path) ? readFileSync(path, 'utf8').trimEnd().split('\n') : [];
  }

  #circumstances(): string {
    const qemu = this.qemuTrace.slice(-TRACE_LINES).join('\n');
    const servers = this.servers.map((_, index) => this.serverTrace(index).slice(-TRACE_LINES).join('\n'));
    return `\nQEMU traced last:\n${qemu}\nThe servers traced last:\n${servers.join('\n\n')}\nThe console's end:\n${this.guest.console.slice(-1500)}`;
  }
}

function withDevices(options: MachineOptions, sockets: readonly string[]): GuestOptions {
  const hotplug = options.hotplug ?? false;
  const served = sockets.flatMap((path, index) => {
    const device = vfioUserPci(path, index, hotplug, options.properties?.[index]);
    return hotplug ? [rootPort(index), device] : [device];
  });
  return { ...options, devices: [...served, ...(options.devices ?? [])] };
}

function serverTrace(folder: string, index: number): string {
  return join(folder, `server-${index}.trace`);
}

/** Value of -device for a socket, at a fixed place. */
function vfioUserPci(
  path: string,
  index: number,
  hotplug: boolean,
  more: Readonly<Record<string, unknown>> = {},
): string {
  const place = hotplug ? { bus: `port${index}`, addr: '0' } : { addr: (FIRST_SLOT + index).toString(16) };
  const socket = { path, type: 'unix' };
  return JSON.stringify({ driver: 'vfio-user-pci', id: `device${index}`, ...place, socket, ...more });
}

function rootPort(index: number): string {
  const slot = (FIRST_SLOT + index).toString(16);
  return `pcie-root-port,id=port${index},chassis=${index + 1},addr=${slot},pref64-reserve=${HOTPLUG_WINDOW}`;
}

async function startServers(
  { serve, serveArgs = [], apart = false, trace }: MachineOptions,
  folder: string,
  sockets: readonly string[],
): Promise<Serving[]> {
  const devices = serve.map((device, index) => `${device}:${sockets[index]}`);
  const groups = apart ? devices.map((device) => [device]) : [devices];
  const servers = groups.map((group, index) => {
    const traced = trace !== undefined ? [] : [`--trace=${serverTrace(folder, index)}`];
    // With --control a server ends with its stdin, also when this process is killed.
    return new Serving([...group, '--json', '--control', ...traced, ...serveArgs]);
  });
  for (const [index, server] of servers.entries()) {
    for (let ready = 0; ready < groups[index]!.length; ready++) await server.event('ready');
  }
  return servers;
}
