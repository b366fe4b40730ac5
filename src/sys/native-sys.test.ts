import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { sysContract } from '../../test/support/sys-contract.ts';
import { ptyContract } from '../../test/support/sys-pty-contract.ts';
import { streamContract } from '../../test/support/sys-stream-contract.ts';
import { openSys } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'vfio-sys-'));
afterAll(() => rmSync(folder, { recursive: true }));
let paths = 0;

function makeWorld() {
  return {
    sys: openSys(),
    openFds: () => readdirSync('/proc/self/fd').length,
    path: () => join(folder, `${paths++}`),
  };
}

sysContract('live', makeWorld);
streamContract('live', makeWorld);
ptyContract('live', makeWorld);
