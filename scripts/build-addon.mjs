/*
 * Builds native/ with node-gyp. Node's own headers are used when they lie beside the node binary (as in Debian's and
 * nodejs.org's packages); otherwise node-gyp fetches them for the running version.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const prefix = dirname(dirname(realpathSync(process.execPath)));
const args = [
  join(root, 'node_modules/node-gyp/bin/node-gyp.js'),
  '-C',
  'native',
  'rebuild',
  ...process.argv.slice(2),
];
if (existsSync(join(prefix, 'include/node/node_api.h'))) args.push(`--nodedir=${prefix}`);
const result = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
process.exit(result.status ?? 1);
