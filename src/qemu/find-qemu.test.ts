import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fakeQemu, REAL_QEMU, WITH_REAL_QEMU } from '../../test/support/qemu.ts';
import { askQemu } from './ask-qemu.ts';
import { findQemu, qemuProgram } from './find-qemu.ts';

const FOR_FAKES = 30_000;
const NOWHERE = { asked: null, environment: {}, cached: null };

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-find-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** What every QEMU with the device answers, however it was found. */
async function heldToContract(path: string): Promise<void> {
  const { found, rejected } = await findQemu({ ...NOWHERE, asked: path });
  expect(rejected).toEqual([]);
  expect(found).toMatchObject({ path, source: '--qemu', hasVfioUserPci: true, machine: 'q35', hasKvm: true });
  expect(found!.version).toMatch(/^\d+\.\d+\.\d+/);
}

describe('a QEMU that has the device', () => {
  it('is found: the fake', () => heldToContract(fakeQemu(folder)), FOR_FAKES);

  describe.skipIf(REAL_QEMU === null)(WITH_REAL_QEMU, () => {
    it('is found', () => heldToContract(REAL_QEMU!), FOR_FAKES);
  });
});

describe('findQemu', () => {
  it('finds nothing where nothing is', async () => {
    expect(await findQemu(NOWHERE)).toEqual({ found: null, rejected: [] });
  });

  it('looks at every folder of PATH, then into the cache', async () => {
    const program = qemuProgram();
    const [first, second] = [join(folder, 'a'), join(folder, 'b')];
    for (const one of [first, second]) mkdirSync(one);
    const old = fakeQemu(first, { version: '7.2.22', hasVfioUserPci: false }, program);
    const other = fakeQemu(second, { version: '10.1.0', hasVfioUserPci: false }, program);
    const cached = fakeQemu(folder);
    const environment = { PATH: `${first}:${second}:${first}:` };
    const { found, rejected } = await findQemu({ asked: null, environment, cached });
    expect(found).toMatchObject({ path: cached, source: 'cache' });
    expect(rejected).toEqual([
      { path: old, source: 'PATH', reason: 'is QEMU 7.2.22: vfio-user-pci came with 10.1' },
      { path: other, source: 'PATH', reason: 'is QEMU 10.1.0: it was built without vfio-user-pci' },
    ]);
  });

  it('takes --qemu before VFIO_QEMU before PATH, and nothing in their stead', async () => {
    const program = qemuProgram();
    const onPath = fakeQemu(folder, {}, program);
    const named = fakeQemu(folder, { version: '12.0.0' }, 'named');
    const environment = { PATH: folder, VFIO_QEMU: 'named' };
    const byName = await findQemu({ asked: null, environment, cached: null });
    expect(byName.found).toMatchObject({ path: named, source: 'VFIO_QEMU', version: '12.0.0' });
    const asked = await findQemu({ asked: program, environment, cached: null });
    expect(asked.found).toMatchObject({ path: onPath, source: '--qemu' });
    const missing = await findQemu({ asked: join(folder, 'none'), environment, cached: onPath });
    expect(missing.found).toBeNull();
    expect(missing.rejected).toMatchObject([{ source: '--qemu', reason: 'does not exist' }]);
  });

  it.each([
    ['is no program', 'text', 0o644, 'is not executable'],
    ['is another program', '#!/bin/sh\necho 4.2', 0o755, 'is no QEMU'],
    ['fails', '#!/bin/sh\necho no library >&2; exit 127', 0o755, 'no library'],
  ])('says what is wrong with a file that %s', async (_what, text, mode, reason) => {
    const path = join(folder, 'program');
    writeFileSync(path, text, { mode });
    const { found, rejected } = await findQemu({ ...NOWHERE, asked: path });
    expect(found).toBeNull();
    expect(rejected[0]!.reason).toContain(reason);
  });

  it('gives up on a program that does not answer', async () => {
    const path = fakeQemu(folder, { before: 'sleep 3' });
    expect(await askQemu(path, 200)).toEqual({ failure: 'did not answer to --version within 0.2 s' });
  });
});
