/*
 * `vfio inspect` against real servers, and against lspci, which decodes the same config space.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDevice } from '../../src/client/index.ts';
import { inFolder, Serving, vfio } from './support.ts';

/** What lspci says about a dump, one line an item, without leading blanks. */
function lspci(dumpPath: string): string[] {
  const result = spawnSync('lspci', ['-F', dumpPath, '-vv', '-nn'], { encoding: 'utf8' });
  expect(result.status).toBe(0);
  return result.stdout.split('\n').map((line) => line.trim());
}

type Work = (socket: string, folder: string) => Promise<void>;

const withRam = (flags: readonly string[], work: Work): Promise<void> => withDevice('ram', flags, work);

async function withDevice(device: string, flags: readonly string[], work: Work): Promise<void> {
  await inFolder(async (folder) => {
    const socket = join(folder, 'device.sock');
    const serving = new Serving([device, `--socket-path=${socket}`, '--json', ...flags]);
    await serving.event('ready');
    try {
      await work(socket, folder);
    } finally {
      await serving.child.stop();
    }
  });
}

test('tells identity, capabilities, regions, consent and interrupts as one JSON object', async () => {
  await withRam(['--size=64G'], async (socket) => {
    const { code, stdout, stderr } = vfio(['inspect', `unix:${socket}`, '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ address: `unix:${socket}`, kind: 'pci', resettable: true });
    expect(report.identity).toMatchObject({ vendorId: 0x1234, deviceId: 0x7261, classCode: 0x0500 });
    const regions = new Map(report.regions.map((region: { index: number }) => [region.index, region]));
    expect(regions.get(2)).toMatchObject({
      sizeBytes: 64 * 2 ** 30,
      offset: 2 * 2 ** 40,
      flags: ['read', 'write', 'mmap'],
      areas: [{ offset: 0, size: 64 * 2 ** 30, dma: 'allow' }],
      bar: { space: 'memory', width: 64, prefetchable: true },
    });
    expect(regions.get(9)).toMatchObject({
      offset: 9 * 2 ** 40,
      areas: [{ dma: 'deny' }],
      type: { type: 0x8000_1234, subtype: 1 },
    });
    const fields = report.capabilities.map((capability: { name: string; fields: object }) => [
      capability.name,
      capability.fields,
    ]);
    expect(fields).toContainEqual([
      'Power Management',
      expect.objectContaining({ state: 'D0', noSoftReset: true }),
    ]);
    expect(fields).toContainEqual(['Express', expect.objectContaining({ functionLevelReset: true })]);
  });
});

test('says for people what it says for programs', async () => {
  await withRam(['--size=1M', '--dma=deny'], async (socket) => {
    const { code, stdout } = vfio(['inspect', socket]);
    expect(code).toBe(0);
    expect(stdout).toContain(`unix:${socket}: RAM memory [0500]: `);
    expect(stdout).toContain('Region 2: Memory at <unassigned> (64-bit, prefetchable) [size=1M]');
    expect(stdout).toMatch(
      /region 2 BAR2 +1M at 0x20000000000 read write mmap\n\t {4}mappable all of it, peer DMA: deny/,
    );
    expect(stdout).toMatch(/region 9 \S+ +64K at 0x90000000000 .*type 0x80001234\/1/);
  });
});

test.each(['edu', 'ram'])('agrees with lspci about the same config space of %s', async (device) => {
  await withDevice(device, [], async (socket, folder) => {
    const dump = join(folder, 'config.txt');
    writeFileSync(dump, vfio(['inspect', socket, '--hex']).stdout);
    const said = lspci(dump);
    const ours = vfio(['inspect', socket])
      .stdout.split('\n')
      .map((line) => line.trim());
    expect(ours[0]!.replace(`unix:${socket}: `, '00:00.0 ')).toBe(said[0]);
    const starting = (lines: string[], start: string) => lines.filter((line) => line.startsWith(start));
    expect(starting(ours, 'Subsystem: ')).toEqual(starting(said, 'Subsystem: '));
    // Offset and name of each capability; what follows is laid out over several lines there.
    const heads = (lines: string[]) =>
      starting(lines, 'Capabilities: [').map((line) => line.split(/[:,]/).slice(0, 2).join());
    expect(heads(ours)).toEqual(heads(said));
    expect(heads(ours).length).toBeGreaterThan(0);
    const resets = (lines: string[]) => lines.some((line) => line.includes('FLReset+'));
    expect(resets(ours)).toBe(resets(said));
  });
});

test('does not disturb: command register and memory are as before', async () => {
  await withRam(['--size=1M'], async (socket) => {
    const first = await openDevice(socket);
    await first.writeRegister(2, 0x100, 4, 0x1234_5678);
    await first.close();
    vfio(['inspect', socket]);
    const second = await openDevice(socket);
    expect(await second.readRegister(2, 0x100, 4)).toBe(0x1234_5678);
    await second.close();
  });
});

test('says when the device has another client', async () => {
  await withRam([], async (socket) => {
    const handle = await openDevice(socket);
    const { code, stderr } = vfio(['inspect', socket]);
    expect(code).toBe(1);
    expect(stderr).toContain('EBUSY');
    await handle.close();
  });
});
