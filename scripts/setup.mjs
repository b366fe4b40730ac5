/*
 * Makes a fresh clone ready: npm packages, the native addon, the compiled sources. Each step runs only when its
 * result is missing or older than what it is made from, so a second call costs a few milliseconds.
 * Plain JavaScript without dependencies, because it runs before anything is installed. Everything it has to say goes
 * to stderr: stdout belongs to the command that follows (`npm start -- --json`).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const OLDEST_NODE = [20, 19];

function fail(message) {
  process.stderr.write(`setup: ${message}\n`);
  process.exit(1);
}

function newestMtimeMs(path, accepts) {
  const info = statSync(path);
  if (!info.isDirectory()) return accepts(path) ? info.mtimeMs : 0;
  return readdirSync(path).reduce(
    (newest, name) => Math.max(newest, newestMtimeMs(join(path, name), accepts)),
    0,
  );
}

function isFresh(result, sources, accepts = () => true) {
  if (!existsSync(join(root, result))) return false;
  const made = statSync(join(root, result)).mtimeMs;
  return sources.every((source) => newestMtimeMs(join(root, source), accepts) <= made);
}

/** What went wrong stands at the top of npm's output and at the bottom of a compiler's. */
function ends(lines) {
  return lines.length <= 40 ? lines : [...lines.slice(0, 20), '...', ...lines.slice(-20)];
}

function run(what, command, args, hint) {
  const started = Date.now();
  process.stderr.write(`setup: ${what} ... `);
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (result.error || result.status !== 0) {
    const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim().split('\n');
    process.stderr.write(`failed\n${ends(output).join('\n')}\n`);
    fail(`${command} ${args.join(' ')}: ${result.error?.message ?? `exit ${result.status}`}\n${hint}`);
  }
  process.stderr.write(`${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  fail(`Node ${process.versions.node} is too old; install Node ${OLDEST_NODE.join('.')} or newer.`);
}

function installPackages() {
  if (isFresh('node_modules/.package-lock.json', ['package-lock.json'])) return;
  run('npm ci', 'npm', ['ci', '--no-audit', '--no-fund'], 'Check that the npm registry can be reached.');
}

function buildAddon() {
  const prebuilt = join(root, 'native/prebuilds', `${process.platform}-${process.arch}`);
  if (existsSync(prebuilt)) return;
  const isSource = (path) => /\.(cc|h|gyp)$/.test(path) && !path.includes('/build/');
  if (isFresh('native/build/Release/vfio.node', ['native'], isSource)) return;
  run(
    'building the addon',
    process.execPath,
    ['scripts/build-addon.mjs'],
    'The addon needs a C++ toolchain and python3: on Debian or Ubuntu `apt-get install g++ make python3`.',
  );
}

function compile() {
  const isSource = (path) => path.endsWith('.ts') && !path.endsWith('.test.ts');
  if (
    isFresh(
      'dist/.tsbuildinfo',
      ['src', 'tsconfig.json', 'tsconfig.build.json'],
      (path) => isSource(path) || path.endsWith('.json'),
    )
  )
    return;
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  run(
    'compiling',
    process.execPath,
    [tsc, '-p', 'tsconfig.build.json'],
    'Fix the errors above and run it again.',
  );
}

checkNode();
installPackages();
buildAddon();
compile();
