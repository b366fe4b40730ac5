/*
 * Memory of the simulated worlds: mappings of a simulated process, and a DMA engine behind the simulated IOMMU.
 *
 * A page of the simulated host holds one number. Here it stands for all bytes of the page, so a store of a word is a load of the
 * page and a store of the page with that word in it.
 */
import {
  type DmaFault,
  type DmaPort,
  dmaFault,
  PAGE_SIZE,
  Translation,
  VfioError,
} from '../../src/core/index.ts';
import type { Operation, Protection, Session } from '../../src/sim/index.ts';
import {
  type MappingCall,
  NoCounterpart,
  type ParityMapping,
  PROT_READ,
  PROT_WRITE,
  type ProcessMemory,
} from './world.ts';

/** The container that edu is in. */
export const CONTAINER = 'edu';

/** Numbers of page contents; 0 is a page of zeros. */
export class Contents {
  readonly #pages: Uint8Array[] = [new Uint8Array(PAGE_SIZE)];
  readonly #numbers: Map<string, number> = new Map([[keyOf(new Uint8Array(PAGE_SIZE)), 0]]);

  /** The bytes of a page; zeros for a number that stands for none. */
  bytes(number: number): Uint8Array {
    return this.#pages[number] ?? this.#pages[0]!;
  }

  /** The number of page `number` with `bytes` at `offset`. */
  changed(number: number, offset: number, bytes: Uint8Array): number {
    const page = this.bytes(number).slice();
    page.set(bytes, offset);
    const key = keyOf(page);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.#pages.length);
    return this.#pages.push(page) - 1;
  }
}

function keyOf(page: Uint8Array): string {
  return Buffer.from(page.buffer, page.byteOffset, page.length).toString('latin1');
}

/** Does an operation that answers with an errno if it fails. */
export function done(session: Session, operation: Operation): string {
  const { result } = session.run(operation);
  if (/^E[A-Z]+$/.test(result)) throw new VfioError(result as VfioError['code'], `${operation.op} failed`);
  if (result === 'refused') throw new Error(`${operation.op} makes no sense now`);
  return result;
}

/** PROT_* as the simulated host has them. */
export function protectionOf(bits: number): Protection {
  if ((bits & PROT_READ) === 0) return (bits & PROT_WRITE) === 0 ? 'none' : 'w';
  return (bits & PROT_WRITE) === 0 ? 'r' : 'rw';
}

/** A VMA of the simulated process, of a device's region or of memory. */
export interface Place {
  readonly device: string;
  readonly region: number;
  readonly page: number;
  readonly pages: number;
}

/** A mapping of the simulated process. */
export class SimulatedMapping implements ParityMapping {
  readonly vma: string;
  readonly place: Place;
  readonly #session: Session;
  readonly #contents: Contents;
  #pages: number;

  constructor(session: Session, contents: Contents, vma: string, place: Place) {
    this.#session = session;
    this.#contents = contents;
    this.vma = vma;
    this.place = place;
    this.#pages = place.pages;
  }

  touch(offset: number, value?: number): string {
    const bytes = new Uint8Array(4);
    const view = new DataView(bytes.buffer);
    if (value !== undefined) view.setUint32(0, value, true);
    const signal = value === undefined ? this.load(offset, bytes) : this.store(offset, bytes);
    if (signal !== null) return signal.startsWith('SIG') ? `${signal} code=2` : signal;
    const word = view.getUint32(0, true).toString(16).padStart(8, '0');
    return `${value === undefined ? 'read' : 'wrote'} 0x${word}`;
  }

  /** Loads bytes of one page; the signal, or null. */
  load(offset: number, bytes: Uint8Array): string | null {
    const page = Math.floor(offset / PAGE_SIZE);
    const number = this.#access({ op: 'read', vma: this.vma, page });
    if (typeof number === 'string') return number;
    const from = offset % PAGE_SIZE;
    bytes.set(this.#contents.bytes(number).subarray(from, from + bytes.length));
    return null;
  }

  /** Stores bytes of one page; the signal, or null. */
  store(offset: number, bytes: Uint8Array): string | null {
    const page = Math.floor(offset / PAGE_SIZE);
    const before = this.#access({ op: 'read', vma: this.vma, page });
    if (typeof before === 'string') return before;
    const value = this.#contents.changed(before, offset % PAGE_SIZE, bytes);
    const after = this.#access({ op: 'write', vma: this.vma, page, value });
    return typeof after === 'string' ? after : null;
  }

  call(request: MappingCall): string {
    const { vma } = this;
    switch (request.call) {
      case 'mprotect':
        done(this.#session, { op: 'mprotect', vma, protection: protectionOf(request.protection) });
        return '0';
      case 'mremap-shrink': {
        const pages = request.length / PAGE_SIZE;
        done(this.#session, { op: 'munmap', vma, part: 'tail', pages: this.#pages - pages });
        this.#pages = pages;
        return 'ok';
      }
      case 'mremap-move':
        done(this.#session, { op: 'mremap', vma });
        return 'ok';
      default:
        throw new NoCounterpart();
    }
  }

  munmap(): void {
    this.#session.run({ op: 'munmap', vma: this.vma });
  }

  /** The number that the page holds, or the signal. */
  #access(operation: Operation): number | string {
    const { result } = this.#session.run(operation);
    const [, number] = /^value (\d+)$/.exec(result) ?? [];
    return number === undefined ? result : Number(number);
  }
}

/** Memory of the simulated process. */
export class SimulatedMemory implements ProcessMemory {
  readonly mapping: SimulatedMapping;
  /** Page of the VMA at which the memory begins; behind its end if nothing is there. */
  readonly firstPage: number;

  constructor(mapping: SimulatedMapping, firstPage: number) {
    this.mapping = mapping;
    this.firstPage = firstPage;
  }

  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (const { at, end } of pagesOf(offset, length))
      signalled(this.mapping.load(at, bytes.subarray(at - offset, end - offset)));
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): void {
    for (const { at, end } of pagesOf(offset, bytes.length))
      signalled(this.mapping.store(at, bytes.subarray(at - offset, end - offset)));
  }

  free(): void {
    this.mapping.munmap();
  }
}

function signalled(signal: string | null): void {
  if (signal !== null) throw new Error(`the process is killed by ${signal}`);
}

/** A range, cut at the ends of pages. */
function* pagesOf(offset: number, length: number): Generator<{ at: number; end: number }> {
  for (let at = offset; at < offset + length; ) {
    const end = Math.min((Math.floor(at / PAGE_SIZE) + 1) * PAGE_SIZE, offset + length);
    yield { at, end };
    at = end;
  }
}

/** A MAP_DMA that succeeded. */
export interface Mapped {
  readonly name: string;
  readonly iova: number;
  readonly sizeBytes: number;
  readonly place: Place;
}

/** DMA through the simulated IOMMU. */
export class SimulatedDma implements DmaPort {
  readonly attached = true;
  readonly #session: Session;
  readonly #contents: Contents;
  /** Also what was unmapped: that nothing goes through it is the simulated host's to say. */
  readonly #mapped: readonly Mapped[];

  constructor(session: Session, contents: Contents, mapped: readonly Mapped[]) {
    this.#session = session;
    this.#contents = contents;
    this.#mapped = mapped;
  }

  read(
    iova: number,
    target: Uint8Array,
    at: number = 0,
    length: number = target.length - at,
  ): DmaFault | null {
    for (const piece of pagesOf(iova, length)) {
      const reached = this.#access(piece.at, null);
      if (typeof reached !== 'number') return reached;
      const from = piece.at % PAGE_SIZE;
      const bytes = this.#contents.bytes(reached).subarray(from, from + piece.end - piece.at);
      target.set(bytes, at + piece.at - iova);
    }
    return null;
  }

  write(
    iova: number,
    source: Uint8Array,
    at: number = 0,
    length: number = source.length - at,
  ): DmaFault | null {
    for (const piece of pagesOf(iova, length)) {
      const from = at + piece.at - iova;
      const reached = this.#access(piece.at, source.subarray(from, from + piece.end - piece.at));
      if (typeof reached !== 'number') return reached;
    }
    return null;
  }

  check(iova: number, size: number, write: boolean): DmaFault | null {
    return this.#session.container(CONTAINER).translate(iova, size, write, new Translation());
  }

  window(iova: number): DmaFault {
    return dmaFault(iova, 'no direct view');
  }

  /** One access to one page: what it holds then; 0, for zeros, where nobody answers. */
  #access(iova: number, write: Uint8Array | null): number | DmaFault {
    const mapped = this.#mapped.findLast((each) => iova >= each.iova && iova < each.iova + each.sizeBytes);
    if (mapped === undefined) return dmaFault(iova, 'not mapped');
    const page = Math.floor((iova - mapped.iova) / PAGE_SIZE);
    const { name: mapping, place } = mapped;
    const operation: Operation =
      write === null
        ? { op: 'dmaRead', mapping, page }
        : { op: 'dmaWrite', mapping, page, value: this.#withBytes(place, page, iova % PAGE_SIZE, write) };
    const { result } = this.#session.run(operation);
    if (result === 'fault' || result === 'refused')
      return this.check(iova, 1, write !== null) ?? dmaFault(iova, 'not mapped');
    return Number(/^value (\d+)$/.exec(result)?.[1] ?? 0);
  }

  #withBytes(
    { device, region, page: first }: Place,
    page: number,
    offset: number,
    bytes: Uint8Array,
  ): number {
    return this.#contents.changed(this.#session.contents(device, region, first + page), offset, bytes);
  }
}
