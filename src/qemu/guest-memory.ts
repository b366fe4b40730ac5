/*
 * The guest's memory must be shared with the servers of its devices. QEMU does not insist: with private memory in a file it
 * sends the descriptor all the same, and devices read and write pages that are not the guest's. So whatever the arguments
 * say about memory is merged with a shared backend, or refused.
 */
import { QemuArgumentError, type QemuOption, readList, valuesOf } from './arguments.ts';

/** RAM of a guest when nobody says how much. */
export const DEFAULT_MEMORY_BYTES: number = 2 ** 30;

const MIB = 2 ** 20;
const SIZE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  '': MIB,
  m: MIB,
  g: 2 ** 30,
  t: 2 ** 40,
};

/** What to add to the arguments so that the guest's memory is shared. */
export interface GuestMemory {
  /** Property for -machine; null when the arguments have it. */
  readonly machineProperty: string | null;
  readonly words: readonly string[];
}

interface Backend {
  /** What `share` is when it is not said. */
  readonly share: boolean;
  /** Whether its memory has a descriptor that goes to devices even where it is private. */
  readonly file: boolean;
}

/** The backends that can be shared. */
const BACKENDS: Readonly<Record<string, Backend>> = {
  'memory-backend-memfd': { share: true, file: true },
  'memory-backend-shm': { share: true, file: true },
  'memory-backend-file': { share: false, file: true },
  'memory-backend-ram': { share: false, file: false },
};

/** Options that give the guest memory of their own, past any backend. */
const UNSEEN: readonly (readonly [name: string, nextStep: string])[] = [
  [
    'mem-path',
    'Use -object memory-backend-file,id=ram,mem-path=PATH,size=SIZE,share=on -machine memory-backend=ram.',
  ],
  ['readconfig', 'Write what the file says as options.'],
];

/**
 * @param memoryBytes what --memory says; null: the arguments, or else the default
 * @throws QemuArgumentError if the memory would not be shared, or nobody can tell
 */
export function guestMemory(options: readonly QemuOption[], memoryBytes: number | null): GuestMemory {
  refuseUnseen(options);
  const objects = valuesOf(options, 'object').map((text) => readList(text, 'qom-type'));
  for (const object of objects) refusePrivate(object);
  const chosen = valuesOf(options, 'machine').findLast((text) =>
    readList(text, 'type').has('memory-backend'),
  );
  if (chosen !== undefined) {
    checkOwnBackend(readList(chosen, 'type').get('memory-backend')!, objects);
    if (memoryBytes === null) return { machineProperty: null, words: [] };
    throw new QemuArgumentError(
      '--memory and a memory-backend of your own exclude each other',
      'Leave --memory out; the size of the backend counts.',
    );
  }
  const said = saidBytes(options);
  if (said !== null && memoryBytes !== null && said !== memoryBytes) {
    throw new QemuArgumentError(`--memory and -m differ: ${memoryBytes} and ${said} bytes`, 'Leave one out.');
  }
  const sizeBytes = said ?? memoryBytes ?? DEFAULT_MEMORY_BYTES;
  const size = sizeText(sizeBytes);
  const id = freeId(objects);
  const backend = `memory-backend-memfd,id=${id},size=${size},share=on`;
  // -m of the arguments may say slots and maxmem alone; QEMU merges both.
  return { machineProperty: `memory-backend=${id}`, words: ['-m', size, '-object', backend] };
}

function refuseUnseen(options: readonly QemuOption[]): void {
  for (const [name, nextStep] of UNSEEN) {
    if (options.some((option) => option.name === name)) {
      throw new QemuArgumentError(`with -${name} nobody can tell whether the memory is shared`, nextStep);
    }
  }
  if (valuesOf(options, 'numa').some((text) => readList(text, 'type').has('memdev'))) {
    throw new QemuArgumentError(
      '-numa with memdev is memory that `vfio qemu` does not make',
      'Leave memdev out, or start `vfio serve` and QEMU by hand with share=on for every node.',
    );
  }
  if (valuesOf(options, 'machine').some((text) => [...readList(text, 'type').keys()].some(isMemorySize))) {
    throw new QemuArgumentError("the memory's size is a property of -machine", 'Write -m SIZE instead.');
  }
}

function isMemorySize(key: string): boolean {
  return key === 'memory' || key === 'memory.size';
}

/** Memory of a file that is not shared is the one thing that no server can notice. */
function refusePrivate(object: ReadonlyMap<string, string>): void {
  const backend = backendOf(object);
  if (backend === null || !backend.file || isShared(object, backend)) return;
  throw new QemuArgumentError(
    `memory '${object.get('id') ?? ''}' is private: devices would get its descriptor and see other contents than the guest`,
    'Add share=on to it.',
  );
}

function checkOwnBackend(id: string, objects: readonly ReadonlyMap<string, string>[]): void {
  const object = objects.find((one) => one.get('id') === id);
  if (object === undefined) {
    throw new QemuArgumentError(
      `the memory backend '${id}' is not among the arguments`,
      `Add -object memory-backend-memfd,id=${id === '' ? 'ram' : id},size=SIZE,share=on.`,
    );
  }
  const backend = backendOf(object);
  if (backend !== null && isShared(object, backend)) return;
  throw new QemuArgumentError(
    `the memory '${id}' is not shared, so devices reach it by slow messages only`,
    'Use memory-backend-memfd with share=on for it.',
  );
}

function backendOf(object: ReadonlyMap<string, string>): Backend | null {
  const type = object.get('qom-type') ?? '';
  return Object.hasOwn(BACKENDS, type) ? BACKENDS[type]! : null;
}

function isShared(object: ReadonlyMap<string, string>, backend: Backend): boolean {
  const share = object.get('share');
  return share === undefined ? backend.share : ['on', 'yes', 'true', 'y'].includes(share);
}

/** Size that -m says; null if none does. */
function saidBytes(options: readonly QemuOption[]): number | null {
  const text = valuesOf(options, 'm')
    .map((value) => readList(value, 'size').get('size'))
    .findLast((value) => value !== undefined);
  if (text === undefined) return null;
  const match = /^([0-9]+(?:\.[0-9]+)?)([bkmgt]?)$/i.exec(text);
  if (match !== null) return Number(match[1]) * SIZE_UNITS[match[2]!.toLowerCase()]!;
  throw new QemuArgumentError(`-m ${text} is no size`, 'Write MiB, or a size such as 512M or 4G.');
}

/** QEMU compares the sizes of the machine and of the backend, and rounds one of them; whole MiB are equal for certain. */
function sizeText(sizeBytes: number): string {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes >= MIB && sizeBytes % MIB === 0)
    return `${sizeBytes / MIB}M`;
  throw new QemuArgumentError(
    `${sizeBytes} bytes of memory are not whole MiB`,
    'Write a size such as 512M or 4G.',
  );
}

function freeId(objects: readonly ReadonlyMap<string, string>[]): string {
  const taken = new Set(objects.map((object) => object.get('id')));
  let id = 'mem';
  for (let n = 2; taken.has(id); n++) id = `mem${n}`;
  return id;
}
