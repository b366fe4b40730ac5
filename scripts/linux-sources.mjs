/*
 * Fetches the Linux sources that tests of the auditor read: Debian's linux-source packages, checked by apt against the
 * archive's signed sizes and sums, unpacked below the user's cache folder and never installed.
 *
 *   node scripts/linux-sources.mjs [5.10] [6.1] [7.3]     fetches what is missing and prints each folder
 */
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setUp } from './vitest.mjs';

/** Which of Debian's suites has which series. */
const SUITES = new Map([
  ['5.10', 'bullseye'],
  ['6.1', 'bookworm'],
  ['7.3', 'trixie-backports'],
]);
/** Neither audited nor needed to compile one object for x86 or arm64: half of what a tree weighs. */
const LEFT_OUT = [
  'Documentation/*/*',
  'tools/testing/*/*',
  'tools/perf/*/*',
  'sound/*/*/*.[ch]',
  ...'alpha arc arm c6x csky h8300 hexagon ia64 loongarch m68k microblaze mips nds32 nios2 openrisc parisc sh sparc um xtensa'
    .split(' ')
    .flatMap((name) => [`arch/${name}/*.[chS]`, `arch/${name}/boot/*`]),
];
/** Changes with what is left out: a folder that was unpacked otherwise is fetched again. */
const LAYOUT = 'layout 3';
const PROGRESS_MS = 5_000;
const LOCK_WAIT_MS = 40 * 60_000;

const log = (line) => process.stderr.write(`linux-sources: ${line}\n`);

/** Bytes below a folder, to say how far a download or an unpacking is. */
function sizeBytes(folder) {
  if (!existsSync(folder)) return 0;
  let sum = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    try {
      sum += statSync(join(entry.parentPath ?? entry.path, entry.name)).size;
    } catch {
      // Moved while we looked.
    }
  }
  return sum;
}

/** Says every few seconds how large `folder` is while `work` goes on. */
async function withProgress(what, folder, work) {
  const timer = setInterval(() => log(`${what}: ${Math.round(sizeBytes(folder) / 1e6)} MB`), PROGRESS_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
}

function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    child.once('error', () => reject(new Error(`${program} cannot be run. Install it`)));
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}. Is the disk full?`)),
    );
  });
}

/** One at a time, also between processes. */
async function locked(lock, work) {
  const until = Date.now() + LOCK_WAIT_MS;
  for (let said = false; ; said = true) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      if (Date.now() > until) throw new Error(`${lock} has been there too long. Remove it and try again`);
      if (!said) log(`waiting for another process; if there is none, remove ${lock}`);
      await sleep(1_000);
    }
  }
  try {
    return await work();
  } finally {
    rmdirSync(lock);
  }
}

async function fetchSource(cache, version, DebianPackages) {
  const name = `linux-source-${version}`;
  const target = join(cache, version);
  const scratch = join(cache, `.fetching-${version}`);
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  try {
    const packages = new DebianPackages(scratch, [SUITES.get(version)]);
    log(`${version}: reading the package lists`);
    await packages.update();
    log(`${version}: fetching about 150 MB`);
    const deb = join(scratch, `single-${name}`);
    await withProgress(`${version}: fetched`, deb, packages.unpack([name], join(scratch, 'package')));
    const archive = join(scratch, 'package/usr/src', `${name}.tar.xz`);
    const tree = join(scratch, 'tree');
    mkdirSync(tree);
    log(`${version}: unpacking`);
    const excludes = LEFT_OUT.map((pattern) => `--exclude=${name}/${pattern}`);
    const unpacking = run('tar', [
      '-xJf',
      archive,
      '-C',
      tree,
      '--strip-components=1',
      '--anchored',
      ...excludes,
    ]);
    await withProgress(`${version}: unpacked`, tree, unpacking);
    const deb822 = readdirSync(deb).find((file) => file.endsWith('.deb'));
    writeFileSync(join(tree, '.complete'), `${deb822}\n${LAYOUT}\n`);
    rmSync(target, { recursive: true, force: true });
    renameSync(tree, target);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const wanted = process.argv.slice(2);
const unknown = wanted.find((version) => !SUITES.has(version));
if (unknown !== undefined) {
  log(`${unknown} is none of ${[...SUITES.keys()].join(', ')}`);
  process.exit(2);
}
if (!setUp()) process.exit(1);
const { cacheFolder } = await import(new URL('../dist/qemu/cache-folder.js', import.meta.url));
const { DebianPackages } = await import(new URL('../dist/qemu/debian-packages.js', import.meta.url));
const cache = join(cacheFolder(), 'linux-source');
mkdirSync(cache, { recursive: true });
try {
  for (const version of wanted.length > 0 ? wanted : SUITES.keys()) {
    const marker = join(cache, version, '.complete');
    const complete = () => existsSync(marker) && readFileSync(marker, 'utf8').includes(LAYOUT);
    if (!complete()) {
      await locked(join(cache, `.lock-${version}`), async () => {
        if (!complete()) await fetchSource(cache, version, DebianPackages);
      });
    }
    console.log(join(cache, version));
  }
} catch (error) {
  log(error.message);
  process.exit(1);
}
