/*
 * Canaries of the demo: each chapter must see that a rule is broken. The devices are in this process, so that they can
 * be made to break one.
 */
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../client/index.ts';
import { VfioError } from '../../core/index.ts';
import { Edu } from '../../devices/edu/device.ts';
import { Ram, type RamOptions } from '../../devices/ram/device.ts';
import { EduDriver } from '../../drivers/edu.ts';
import { styleFor } from '../terminal.ts';
import { consentChapter, decodeOnChapter, releaseChapter, type Witnesses } from './rules.ts';
import type { Scene } from './scene.ts';
import { Story } from './story.ts';

const FILE = Uint8Array.from({ length: 5000 }, (_, i) => (i * 31) & 0xff);

interface Stage {
  readonly story: Story;
  readonly ram: Ram;
  readonly scene: Scene;
  readonly witnesses: Witnesses;
  /** Steps that were not ok, as `rule step`. */
  wrong(): string[];
  close(): Promise<void>;
}

async function stage(options: { ram?: RamOptions; reallyRelease?: boolean }): Promise<Stage> {
  const lines: string[] = [];
  const output = { write: (line: string) => lines.push(line) };
  const story = new Story({ output, style: styleFor(output), json: true });
  const edu = new Edu();
  const ram = new Ram({ sizeBytes: 0x1_0000, ...options.ram });
  const eduHandle = await openDevice(edu);
  const ramHandle = await openDevice(ram);
  const driver = await EduDriver.open(eduHandle);
  const scene: Scene = {
    servers: {
      pids: [process.pid],
      dmaFault: async () => {
        if (edu.lastFault === null) throw new VfioError('ETIMEDOUT', 'there was no fault');
        const { iova, reason } = edu.lastFault;
        return { event: 'dma-fault', device: 'edu', iova, reason };
      },
      releaseRam: async () => {
        if (options.reallyRelease ?? true) ram.release();
      },
    },
    edu: eduHandle,
    ram: ramHandle,
    driver,
    source: await eduHandle.dmaMemory(8192),
    target: await eduHandle.dmaMemory(8192),
    ramSizeBytes: 0x1_0000,
    twoServers: false,
  };
  const mapping = await ramHandle.mmap(2, 0, 4096);
  const patient = {
    async read(count: number) {
      if (ram.released) return { killedBy: 'SIGBUS' };
      return { bytes: Buffer.from(mapping.bytes.subarray(0, count)).toString('hex') };
    },
    async stop() {},
  };
  return {
    story,
    ram,
    scene,
    witnesses: { patient, scratch: await ramHandle.mmap(9) },
    wrong: () =>
      lines
        .map((line) => JSON.parse(line) as { rule: string; step: string; ok: boolean })
        .filter((step) => !step.ok)
        .map((step) => `${step.rule} ${step.step}`),
    async close() {
      await driver.close();
      await eduHandle.close();
      await ramHandle.close();
    },
  };
}

describe('the chapters of the demo', () => {
  it('find nothing wrong with devices that keep the rules', async () => {
    const { story, scene, witnesses, wrong, close } = await stage({});
    await consentChapter(story, scene, FILE);
    await decodeOnChapter(story, scene, witnesses, FILE);
    await releaseChapter(story, scene, witnesses);
    expect(wrong()).toEqual([]);
    expect(story.told).toBe(10);
    await close();
  });

  it('see memory that is mapped without consent (R3)', async () => {
    const { story, scene, wrong, close } = await stage({ ram: { scratchDma: 'allow' } });
    await consentChapter(story, scene, FILE);
    expect(wrong()).toContain("R3 give edu ram's region 9, whose driver did not consent");
    await close();
  });

  it('see memory that comes back empty (R7, R8)', async () => {
    const { story, scene, ram, witnesses, wrong, close } = await stage({});
    await consentChapter(story, scene, FILE);
    ram.region(2).memory!.clear(0, 0x1_0000);
    await decodeOnChapter(story, scene, witnesses, FILE);
    expect(wrong().map((step) => step.slice(0, 2))).toEqual(['R7', 'R7', 'R7', 'R8']);
    await close();
  });

  it('see DMA that still reaches a device that should be gone (R6)', async () => {
    const { story, scene, witnesses, wrong, close } = await stage({ reallyRelease: false });
    await consentChapter(story, scene, FILE);
    await releaseChapter(story, scene, witnesses);
    expect(wrong()).toEqual([
      "R6 edu's DMA to a device that was released",
      'R4 CPU touch of a device that was released',
    ]);
    await close();
  });
});
