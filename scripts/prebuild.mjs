/*
 * Builds the addon for every platform that the package ships (linux x64 and arm64, glibc) into native/prebuilds, so that
 * installing it needs no compiler. Arguments choose: `node scripts/prebuild.mjs x64`. The other architecture is
 * cross-compiled. It builds in a copy, and leaves native/build, which tests use, alone.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import prebuildify from 'prebuildify';

const root = fileURLToPath(new URL('..', import.meta.url));
const native = join(root, 'native');
const TRIPLETS = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };
const PACKAGES = { x64: 'g++-x86-64-linux-gnu', arm64: 'g++-aarch64-linux-gnu' };

function has(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** The compiler's prefix, or null when it is not there (after saying what to install). */
function toolPrefix(arch) {
  if (arch === process.arch) return '';
  const prefix = `${TRIPLETS[arch]}-`;
  if (has(`${prefix}g++`)) return prefix;
  process.stderr.write(
    `prebuild: no compiler for linux-${arch}. Install it and run this again: apt-get install -y ${PACKAGES[arch]}\n`,
  );
  return null;
}

/** Node's headers beside the node binary, as scripts/build-addon.mjs finds them; otherwise node-gyp fetches them. */
function useLocalHeaders() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  if (existsSync(join(prefix, 'include/node/node_api.h'))) process.env.npm_config_nodedir = prefix;
}

function copySources(arch) {
  const copy = join(root, 'build', `prebuild-${arch}`);
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(copy, { recursive: true });
  for (const name of readdirSync(native)) {
    if (/\.(cc|h|gyp)$/.test(name)) cpSync(join(native, name), join(copy, name));
  }
  return copy;
}

async function build(arch) {
  const prefix = toolPrefix(arch);
  if (prefix === null) return false;
  if (prefix !== '') Object.assign(process.env, { CC: `${prefix}gcc`, CXX: `${prefix}g++` });
  const cwd = copySources(arch);
  rmSync(join(native, 'prebuilds', `linux-${arch}`), { recursive: true, force: true });
  await promisify(prebuildify)({
    cwd,
    out: native,
    name: 'vfio',
    arch,
    platform: 'linux',
    libc: 'glibc',
    tagLibc: true,
    napi: true,
    strip: true,
    stripBin: `${prefix}strip`,
    quiet: true,
    targets: [process.versions.node],
  });
  rmSync(cwd, { recursive: true });
  process.stderr.write(`prebuild: native/prebuilds/linux-${arch}\n`);
  return true;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((arch) => !(arch in TRIPLETS));
if (process.platform !== 'linux' || unknown.length > 0) {
  process.stderr.write(`prebuild: on Linux, for ${Object.keys(TRIPLETS).join(' or ')}\n`);
  process.exit(2);
}
useLocalHeaders();
// One after the other: the compiler is chosen through the environment, own architecture first.
const order = (wanted.length > 0 ? wanted : Object.keys(TRIPLETS)).sort((a) => (a === process.arch ? -1 : 1));
let complete = true;
for (const arch of order) complete = (await build(arch)) && complete;
process.exit(complete ? 0 : 1);
