/*
 * Puts the probe's questions to a world, in the probe's order, and writes the answers in the probe's form.
 *
 * What a step leaves behind is there for the next one, as in the probe, which is one process from beginning to end. A
 * question that has no counterpart in the world, or throws, does not stop those after it.
 */
import { VfioError } from '../../src/core/index.ts';
import {
  type DeviceName,
  type MapRequest,
  type Maybe,
  NoCounterpart,
  type ParityMapping,
  type ParityWorld,
  type ProcessMemory,
} from './world.ts';

/** One question: a record of the kernel. */
export interface Question {
  readonly id: string;
  readonly ask: (probe: Probe) => Maybe<string>;
  /** Why edu's last transfer of this step must have come to nothing. Absent: it must not have. */
  readonly fault?: string;
  /** The same, where it was memory of a device that could not be reached: the state of that device. */
  readonly peerFault?: string;
}

/** What the probe did between two records. */
export interface Preparation {
  readonly id?: undefined;
  readonly ask: (probe: Probe) => Maybe<unknown>;
}

export type Step = Question | Preparation;

/** What a world answered. */
export interface Answer {
  /** null: the world has no counterpart for the question. */
  readonly says: string | null;
  /** Why edu's transfers came to nothing, which no driver sees, was not as it must be; null if it was. */
  readonly wrongFaults: string | null;
}

const PAGE = 0x1000;
/** IOVA of the probe's own memory. */
export const RAM_IOVA = 0x10_0000;
export const RAM_BYTES = 0x1_0000;
/** Where edu's buffer is for its DMA registers. */
const EDU_BUFFER = 0x4_0000;
const EDU_DMA = { SRC: 0x80, DST: 0x88, COUNT: 0x90, CMD: 0x98 } as const;
const POLLS = 300;
const WORD_BYTES = 16;

export const R = { read: true, write: false } as const;
export const W = { read: false, write: true } as const;
export const RW = { read: true, write: true } as const;

/** The probe as it runs: a world, and what the steps have made in it. */
export class Probe {
  readonly world: ParityWorld;
  /** Mappings that steps made for later ones, by name. */
  readonly mappings: Map<string, ParityMapping> = new Map();
  readonly memories: Map<string, ProcessMemory> = new Map();
  /** Values that steps read for later ones. */
  readonly values: Map<string, number> = new Map();

  constructor(world: ParityWorld) {
    this.world = world;
  }

  mapping(name: string): ParityMapping {
    return required(this.mappings.get(name), name);
  }

  memory(name: string): ProcessMemory {
    return required(this.memories.get(name), name);
  }

  value(name: string): number {
    return required(this.values.get(name), name);
  }

  /** Maps 'ram', or what `from` says. */
  map(iova: number, size: number, rest: Partial<MapRequest> = {}): Promise<string> {
    return status(() =>
      this.world.map({ iova, size, ...RW, from: rest.from ?? this.memory('ram'), ...rest }),
    );
  }

  /** Unmaps: the status, and the size that the call gave back (after an error the one it was called with). */
  async unmap(iova: number, size: number, all: boolean = false): Promise<{ said: string; size: string }> {
    let bytes = size;
    const said = await status(async () => {
      bytes = await this.world.unmap(iova, size, all);
    });
    return { said, size: hex(bytes) };
  }

  async config(device: DeviceName, offset: number): Promise<number> {
    const bytes = await this.world.read(device, 7, offset, 2);
    return bytes[0]! + 256 * bytes[1]!;
  }

  /** Writes 16 bits of config space; says how many bytes were written. */
  setConfig(device: DeviceName, offset: number, value: number): Promise<string> {
    return count(() => this.world.write(device, 7, offset, Uint8Array.of(value & 0xff, value >>> 8)));
  }

  /** Offset of the Power Management capability, or 0. */
  async powerManagement(device: DeviceName): Promise<number> {
    let at = (await this.world.read(device, 7, 0x34, 1))[0]!;
    for (let hops = 0; at !== 0 && hops < 20; hops++) {
      const [id, next] = await this.world.read(device, 7, at, 2);
      if (id === 1) return at;
      at = next!;
    }
    return 0;
  }

  /** One transfer of edu's engine; 0 when it is over, -1 if it never is. */
  async eduDma(source: number, target: number, size: number, toMemory: boolean): Promise<number> {
    const set = (offset: number, value: number) => this.world.write('edu', 0, offset, u64(value));
    await set(EDU_DMA.SRC, source);
    await set(EDU_DMA.DST, target);
    await set(EDU_DMA.COUNT, size);
    await set(EDU_DMA.CMD, toMemory ? 3 : 1);
    for (let poll = 0; poll < POLLS; poll++) {
      const command = await this.world.read('edu', 0, EDU_DMA.CMD, 8);
      if ((command[0]! & 1) === 0) return 0;
    }
    return -1;
  }

  /** Edu reads 16 bytes at `iova` and writes them to the probe's memory, which had other bytes, as edu's buffer had. */
  async dmaRead(iova: number): Promise<string> {
    const ram = this.memory('ram');
    await ram.write(0, new Uint8Array(PAGE).fill(0xee));
    await ram.write(2048, new Uint8Array(WORD_BYTES).fill(0x11));
    await this.eduDma(RAM_IOVA + 2048, EDU_BUFFER, WORD_BYTES, false);
    const first = await this.eduDma(iova, EDU_BUFFER, WORD_BYTES, false);
    const second = await this.eduDma(EDU_BUFFER, RAM_IOVA, WORD_BYTES, true);
    const bytes = await ram.read(0, 4);
    const data = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    const unchanged = bytes[0] === 0x11 ? ' (buffer unchanged: DMA faulted)' : '';
    return `dma rc ${first}/${second} data ${data}${unchanged}`;
  }

  /** Edu writes 16 bytes of `value` to `iova`. */
  async dmaWrite(iova: number, value: number): Promise<void> {
    await this.memory('ram').write(1024, new Uint8Array(WORD_BYTES).fill(value));
    await this.eduDma(RAM_IOVA + 1024, EDU_BUFFER, WORD_BYTES, false);
    await this.eduDma(EDU_BUFFER, iova, WORD_BYTES, true);
  }

  /** Edu writes its buffer over the probe's memory; the first byte there afterwards. */
  async firstByteAfterDma(): Promise<number> {
    const ram = this.memory('ram');
    await ram.write(0, new Uint8Array(PAGE).fill(0xee));
    await this.eduDma(EDU_BUFFER, RAM_IOVA, WORD_BYTES, true);
    return (await ram.read(0, 1))[0]!;
  }
}

/** Asks everything; the answers by id. Throws what a preparation throws. */
export async function runProbe(world: ParityWorld, steps: readonly Step[]): Promise<Map<string, Answer>> {
  const probe = new Probe(world);
  const answers = new Map<string, Answer>();
  for (const step of steps) {
    await world.takeFaults();
    if (step.id !== undefined) answers.set(step.id, await answerOf(step, probe));
    else await prepare(step, probe);
  }
  return answers;
}

async function prepare(step: Preparation, probe: Probe): Promise<void> {
  try {
    await step.ask(probe);
  } catch (error) {
    if (!(error instanceof NoCounterpart)) throw error;
  }
}

async function answerOf(step: Question, probe: Probe): Promise<Answer> {
  let says: string;
  try {
    says = await step.ask(probe);
  } catch (error) {
    if (error instanceof NoCounterpart) return { says: null, wrongFaults: null };
    says = `threw ${error instanceof Error ? error.message : error}`;
  }
  const faults = (await probe.world.takeFaults()).join(', ');
  const peerFault = step.peerFault === undefined ? '' : (probe.world.peerFault ?? step.peerFault);
  const expected = step.fault ?? peerFault;
  const wrongFaults = faults === expected ? null : `edu's transfers met [${faults}] and not [${expected}]`;
  return { says, wrongFaults };
}

/** How the probe writes what a call returned that gives nothing back: 0, or -1 and the errno. */
export async function status(call: () => Maybe<unknown>): Promise<string> {
  const code = await errno(call);
  return code === null ? '0' : `-1 ${code}`;
}

/** The same for a call that gives a number back. */
export async function count(call: () => Maybe<number>): Promise<string> {
  let result = 0;
  const code = await errno(async () => {
    result = await call();
  });
  return code === null ? String(result) : `-1 ${code}`;
}

/** The errno's name, or null for success. */
export async function errno(call: () => Maybe<unknown>): Promise<string | null> {
  try {
    await call();
    return null;
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

export function hex4(value: number): string {
  return value.toString(16).padStart(4, '0');
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

function required<T>(value: T | undefined, name: string): T {
  if (value !== undefined) return value;
  throw new NoCounterpart(`there is no ${name}: the step that makes it had no counterpart`);
}
