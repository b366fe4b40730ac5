/**
 * What all steps of the demo work on: the two devices as a client holds them, the driver of edu, and shared
 * memory.
 *
 * Everything edu reaches lies below 256 MiB, the addresses that edu drives by default.
 */
import { PCI_COMMAND, PCI_COMMAND_MEMORY, VFIO_PCI_CONFIG_REGION_INDEX } from '../../abi/index.ts';
import { type DeviceHandle, type DmaMemory, openDevice } from '../../client/index.ts';
import { VfioError } from '../../core/index.ts';
import { RAM_MEMORY_BAR } from '../../devices/ram/spec.ts';
import { EduDriver } from '../../drivers/edu.ts';
import type { Servers } from './servers.ts';

/** Where edu sees ram's BAR2: the last 64 MiB of its addresses. */
export const PEER_IOVA = 0x0c00_0000;
/** The largest file: as much as there is room for at PEER_IOVA. */
export const MAX_FILE_BYTES = 0x0400_0000;

export interface Scene {
  readonly servers: Pick<Servers, 'pids' | 'dmaFault' | 'releaseRam'>;
  readonly edu: DeviceHandle;
  readonly ram: DeviceHandle;
  readonly driver: EduDriver;
  /** The client's own memory, sealed: where the file starts from, and where it comes back to. */
  readonly source: DmaMemory;
  readonly target: DmaMemory;
  /** Size of ram's BAR2. */
  readonly ramSizeBytes: number;
  readonly twoServers: boolean;
}

export interface SceneOptions {
  readonly servers: Servers;
  /** Room for the file, in whole pages. */
  readonly memoryBytes: number;
  readonly twoServers: boolean;
}

/** Attaches to both devices and gives edu its memory. */
export async function openScene(options: SceneOptions): Promise<Scene> {
  const { servers, memoryBytes, twoServers } = options;
  const edu = await openDevice(`unix:${servers.eduSocket}`);
  const ram = await openDevice(`unix:${servers.ramSocket}`);
  const driver = await EduDriver.open(edu);
  const source = await edu.dmaMemory(memoryBytes, { name: 'demo-source' });
  const target = await edu.dmaMemory(memoryBytes, { name: 'demo-target' });
  const ramSizeBytes = (await ram.regionInfo(RAM_MEMORY_BAR)).sizeBytes;
  return { servers, edu, ram, driver, source, target, ramSizeBytes, twoServers };
}

export async function closeScene(scene: Scene): Promise<void> {
  await scene.driver.close();
  await scene.edu.close();
  await scene.ram.close();
}

/** Switches memory decode of a function on or off, as its driver or a guest does. */
export async function setMemoryDecode(handle: DeviceHandle, on: boolean): Promise<void> {
  const config = VFIO_PCI_CONFIG_REGION_INDEX;
  const command = await handle.readRegister(config, PCI_COMMAND, 2);
  const wanted = on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY;
  await handle.writeRegister(config, PCI_COMMAND, 2, wanted);
}

/** What came of something that may be refused: `done`, or the errno's name. */
export async function outcome(work: () => Promise<unknown>, done: string): Promise<string> {
  try {
    await work();
    return done;
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
}
