/*
 * The rooms of src/ and which of them each may import: arrows go down only. The table is the one that
 * docs/architecture.md draws; rooms.test.ts holds every file to it.
 */

/** A room's name is the first folder below src; files directly in src belong to `.`. */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  abi: [],
  core: ['abi'],
  bus: ['abi', 'core'],
  sys: ['abi', 'core'],
  memory: ['abi', 'core', 'sys'],
  server: ['abi', 'core', 'bus', 'sys', 'memory'],
  qemu: ['abi', 'core', 'sys'],
  client: ['abi', 'core', 'sys', 'memory'],
  sim: ['core'],
  explore: ['core', 'sim'],
  audit: ['core'],
  testing: ['abi', 'core', 'bus', 'sys', 'memory', 'server', 'client'],
  devices: ['abi', 'core', 'bus'],
  drivers: ['abi', 'core', 'client', 'devices'],
  cli: [
    'abi',
    'core',
    'bus',
    'sys',
    'memory',
    'server',
    'client',
    'devices',
    'drivers',
    'qemu',
    'sim',
    'explore',
    'audit',
  ],
  '.': ['abi', 'core', 'bus', 'sys', 'memory', 'server', 'client', 'devices', 'drivers'],
};

/** Rooms without I/O: nothing from Node, no clock, no randomness, so that both worlds can run them. */
export const PURE_ROOMS: readonly string[] = ['abi', 'core', 'bus', 'devices', 'sim', 'explore'];

export const LONGEST_FILE_LINES = 600;

const AMBIENT =
  /\b(Date\.now|new Date|Math\.random|performance\.now|setTimeout|setInterval|setImmediate|process\.)/;

function roomOf(path: string): string {
  const parts = path.split('/');
  return parts.length > 2 ? parts[1]! : '.';
}

function resolveImport(path: string, specifier: string): string {
  return new URL(specifier, `file:///${path}`).pathname.slice(1);
}

/**
 * What is wrong with one source file, one sentence each.
 * @param path relative to the repository, `src/room/file.ts`
 */
export function violations(path: string, text: string): string[] {
  const room = roomOf(path);
  const allowed = ROOMS[room];
  if (allowed === undefined) return [`${path}: room '${room}' is not in the table of test/house/rooms.ts`];
  const isTest = path.endsWith('.test.ts');
  const found: string[] = [];
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) {
    const specifier = match[1]!;
    if (specifier.startsWith('.')) {
      const target = roomOf(resolveImport(path, specifier));
      if (!isTest && target !== room && !allowed.includes(target)) {
        found.push(`${path}: ${room} may not import ${target} (${specifier})`);
      }
    } else if (!isTest && PURE_ROOMS.includes(room)) {
      found.push(`${path}: ${room} is pure and may not import ${specifier}`);
    }
  }
  if (!isTest && PURE_ROOMS.includes(room)) {
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '');
    const ambient = AMBIENT.exec(code);
    if (ambient) found.push(`${path}: ${room} is pure and may not use ${ambient[1]}`);
  }
  return found;
}
