/*
 * What a guest gets: register reads and DMA of our edu beside those of the edu that is built into QEMU, and peer-to-peer
 * at memory speed beside messages. One guest program measures all of it; each number is its median.
 *
 * Prints one JSON object. Needs what `npm run test:vm -- --setup` fetches.
 */
import { Machine, type MachineOptions } from '../test/vm/support/machine.ts';
import { PciShell } from '../test/vm/support/pci-shell.ts';
import { guestProgram } from '../test/vm/support/programs.ts';

const EDU = 0;
const RAM = 1;
const QEMU_EDU = '0000:00:10.0';
const TRANSFER_BYTES = 4096;
/** QEMU's edu waits 100 ms for each transfer, by its timer: few are enough. */
const QEMU_TRANSFERS = 5;
const TRANSFERS = 1000;
const READS = 20_000;

/** What was measured: ns a read, and bytes a second. */
interface GuestFigures {
  readonly readNs: number;
  /** The same with a server that looks again for a while before it sleeps. */
  readonly busyReadNs: number;
  readonly qemuReadNs: number;
  readonly dma: number;
  readonly qemuDma: number;
  readonly peer: number;
  readonly peerByMessages: number;
}

const rounds = Number(process.argv[2] ?? 5);

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

async function repeated(measure: () => Promise<string>): Promise<number> {
  const results: number[] = [];
  for (let round = 0; round < rounds; round++) results.push(Number(await measure()));
  return median(results);
}

function machine(options: Partial<MachineOptions>, work: (machine: Machine) => Promise<void>): Promise<void> {
  const common = {
    serve: ['edu', 'ram'],
    serveArgs: ['--dma-mask-bits=64'],
    devices: ['edu,addr=10'],
    files: guestProgram('pci'),
    trace: null,
  };
  return Machine.run({ ...common, ...options }, work);
}

async function peerBandwidth(vm: Machine): Promise<number> {
  const pci = new PciShell(vm);
  await pci.enable(EDU);
  await pci.enable(RAM);
  const address = await pci.barAddress(RAM, 2);
  return repeated(() =>
    vm.guest.run(`pci copy ${vm.address(EDU)} ${address} ${TRANSFER_BYTES} ${TRANSFERS}`),
  );
}

async function measure(): Promise<GuestFigures> {
  const figures = { readNs: 0, busyReadNs: 0, qemuReadNs: 0, dma: 0, qemuDma: 0, peer: 0, peerByMessages: 0 };
  await machine({}, async (vm) => {
    figures.peer = await peerBandwidth(vm);
    const { guest } = vm;
    const ours = vm.address(EDU);
    await guest.run(`pci write ${QEMU_EDU} config 4 2 6`);
    figures.readNs = await repeated(() => guest.run(`pci poll ${ours} 0 0 ${READS}`));
    figures.qemuReadNs = await repeated(() => guest.run(`pci poll ${QEMU_EDU} 0 0 ${READS}`));
    figures.dma = await repeated(() => guest.run(`pci copy ${ours} 0 ${TRANSFER_BYTES} ${TRANSFERS}`));
    figures.qemuDma = await repeated(() =>
      guest.run(`pci copy ${QEMU_EDU} 0 ${TRANSFER_BYTES} ${QEMU_TRANSFERS}`),
    );
  });
  await machine({ serveArgs: ['--busy-poll-us=200'] }, async (vm) => {
    await new PciShell(vm).enable(EDU);
    figures.busyReadNs = await repeated(() => vm.guest.run(`pci poll ${vm.address(EDU)} 0 0 ${READS}`));
  });
  await machine({ apart: true }, async (vm) => {
    figures.peerByMessages = await peerBandwidth(vm);
  });
  return figures;
}

console.log(JSON.stringify(await measure()));
