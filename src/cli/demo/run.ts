/**
 * Runs the demo: starts the servers, attaches, tells the chapters in order, and cleans up whatever happened.
 */
import type { Output } from '../terminal.ts';
import { Progress, styleFor } from '../terminal.ts';
import {
  consentChapter,
  decodeOffChapter,
  decodeOnChapter,
  placeWitnesses,
  releaseChapter,
} from './rules.ts';
import { closeScene, openScene, type Scene } from './scene.ts';
import { Servers } from './servers.ts';
import { Story } from './story.ts';

export interface DemoOptions {
  /** What is moved by DMA; not empty, at most MAX_FILE_BYTES. */
  readonly file: Uint8Array;
  readonly fileName: string;
  readonly twoServers: boolean;
  readonly json: boolean;
  readonly output: Output;
  /** Where progress goes. */
  readonly errorOutput: Output;
}

const PAGE = 4096;
/** ram's BAR2 is at least this large, so that a small file does not fill it. */
const MIN_RAM_BYTES = 2 ** 20;

/** True if every step went as it must. */
export async function runDemo(options: DemoOptions): Promise<boolean> {
  const style = styleFor(options.output);
  const progress = new Progress(options.errorOutput);
  const story = new Story({ output: options.output, style, json: options.json, progress });
  const startedMs = performance.now();
  const servers = await Servers.start({
    twoServers: options.twoServers,
    ramSizeBytes: Math.max(MIN_RAM_BYTES, powerOfTwoFor(options.file.length)),
  });
  let cleanEnd = false;
  try {
    await tellAll(story, servers, options);
  } finally {
    progress.clear();
    cleanEnd = await servers.stop();
  }
  story.tell({
    rule: 'R10',
    step: 'the servers end when they are told to',
    expected: 'exit code 0',
    seen: cleanEnd ? 'exit code 0' : 'another end',
  });
  if (!options.json) {
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    const verdict =
      story.failed === 0 ? style.good('all as they must be') : style.bad(`${story.failed} wrong`);
    options.output.write(`\n${story.told} steps, ${verdict}, ${seconds} s\n`);
  }
  return story.failed === 0;
}

async function tellAll(story: Story, servers: Servers, options: DemoOptions): Promise<void> {
  const { file, twoServers } = options;
  const memoryBytes = Math.ceil(file.length / PAGE) * PAGE;
  const scene = await openScene({ servers, memoryBytes, twoServers });
  try {
    story.chapter(introduction(scene, options));
    await consentChapter(story, scene, file);
    const witnesses = await placeWitnesses(scene);
    try {
      story.chapter('Memory decode of ram is switched off');
      await decodeOffChapter(story, scene, witnesses);
      story.chapter('Memory decode of ram is switched on again');
      await decodeOnChapter(story, scene, witnesses, file);
      story.chapter("ram is released; edu's IOMMU still maps it");
      await releaseChapter(story, scene, witnesses);
    } finally {
      await witnesses.patient.stop();
    }
  } finally {
    await closeScene(scene);
  }
}

function introduction(scene: Scene, options: DemoOptions): string {
  const pids = scene.servers.pids;
  const processes = pids.length === 1 ? `process ${pids[0]}` : `processes ${pids.join(' and ')}`;
  const client = `their client is process ${process.pid}`;
  return `edu and ram in ${processes}, ${client}; moving ${options.fileName} by DMA`;
}

function powerOfTwoFor(sizeBytes: number): number {
  let size = PAGE;
  while (size < sizeBytes) size *= 2;
  return size;
}
