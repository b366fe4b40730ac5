/*
 * 100,000 DMA_MAP + DMA_UNMAP pairs with 10,000 mappings standing leave the server as it was: its memory, its mappings
 * and its fds, counted in /proc. A guest with a vIOMMU does this all day.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { type DeviceHandle, openDevice } from '../../src/client/index.ts';
import { openSys } from '../../src/sys/index.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const PAGE = 4096;
const STANDING = 10_000;
const PAIRS = 100_000;
const BATCH = 200;
/** Standing mappings sit on even pages from here on, the pairs on odd ones. */
const BASE = 0x1_0000_0000;
/** The heap of an idle V8 moves by about this much by itself; 100,000 leaked records would be far above. */
const HEAP_NOISE_BYTES = 6 << 20;

interface Footprint {
  readonly mappings: number;
  readonly fds: number;
  readonly residentBytes: number;
}

function footprint(pid: number): Footprint {
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
  return {
    mappings: readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').length,
    fds: readdirSync(`/proc/${pid}/fd`).length,
    residentBytes: Number(resident) * 1024,
  };
}

async function churn(device: DeviceHandle, fd: number, pairs: number): Promise<void> {
  for (let done = 0; done < pairs; done += BATCH) {
    const requests: Promise<unknown>[] = [];
    for (let i = done; i < done + BATCH; i++) {
      const iova = BASE + (2 * ((i * 7919) % STANDING) + 1) * PAGE;
      requests.push(device.dmaMap({ iova, sizeBytes: PAGE, fd, offset: (i % 64) * PAGE }));
      requests.push(device.dmaUnmap(iova, PAGE));
    }
    await Promise.all(requests);
  }
}

test('map and unmap leave nothing behind', { timeout: 120_000 }, async () => {
  const sys = openSys();
  const folder = mkdtempSync(join(tmpdir(), 'vfio-churn-'));
  const socket = join(folder, 'ram.sock');
  const server = spawn(process.execPath, [MAIN, 'serve', 'ram', `--socket-path=${socket}`, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const fd = sys.memfdCreate('churn', { allowSealing: true });
  try {
    sys.ftruncate(fd, STANDING * PAGE);
    await once(createInterface({ input: server.stdout }), 'line');
    const device = await openDevice(`unix:${socket}`);
    for (let done = 0; done < STANDING; done += BATCH) {
      const batch = Array.from({ length: BATCH }, (_, i) => done + i);
      await Promise.all(
        batch.map((i) => device.dmaMap({ iova: BASE + 2 * i * PAGE, sizeBytes: PAGE, fd, offset: i * PAGE })),
      );
    }
    await churn(device, fd, PAIRS); // code is compiled and heaps have grown after this
    const before = footprint(server.pid!);
    await churn(device, fd, PAIRS);
    const after = footprint(server.pid!);

    expect(after.fds).toBe(before.fds);
    expect(Math.abs(after.mappings - before.mappings)).toBeLessThanOrEqual(8); // the heap's own
    expect(after.residentBytes - before.residentBytes).toBeLessThan(HEAP_NOISE_BYTES);
    expect(await device.dmaUnmap(0, 0, { all: true })).toBe(STANDING * PAGE);
    await device.close();
  } finally {
    sys.close(fd);
    server.kill('SIGTERM');
    await once(server, 'exit');
    rmSync(folder, { recursive: true, force: true });
  }
});
