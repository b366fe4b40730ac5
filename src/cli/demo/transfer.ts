/**
 * Moves a file by DMA through edu's buffer: client memory to edu, edu to ram's BAR2 by peer-to-peer, and all
 * the way back.
 */
import { createHash } from 'node:crypto';
import { EDU_DMA_BUFFER_SIZE } from '../../devices/edu/spec.ts';
import type { EduDriver } from '../../drivers/edu.ts';
import { PEER_IOVA, type Scene } from './scene.ts';

/** Told after each chunk: how far it is, from 0 to 1. */
export type ProgressListener = (part: number) => void;

/** SHA-256 of bytes, as hexadecimal digits. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Copies `sizeBytes` from one iova to another in pieces of edu's buffer. Returns the number of pieces. */
export async function copyByDma(
  driver: EduDriver,
  from: number,
  to: number,
  sizeBytes: number,
  onProgress: ProgressListener = () => {},
): Promise<number> {
  let chunks = 0;
  for (let offset = 0; offset < sizeBytes; offset += EDU_DMA_BUFFER_SIZE) {
    const length = Math.min(EDU_DMA_BUFFER_SIZE, sizeBytes - offset);
    await driver.dmaToDevice(from + offset, length);
    await driver.dmaFromDevice(to + offset, length);
    chunks += 1;
    onProgress((offset + length) / sizeBytes);
  }
  return chunks;
}

/** The whole journey of `file`. Returns what arrived in the client's memory. */
export async function roundTrip(
  scene: Scene,
  file: Uint8Array,
  onProgress: ProgressListener,
): Promise<Uint8Array> {
  const { driver, source, target } = scene;
  source.bytes.set(file);
  await copyByDma(driver, source.iova, PEER_IOVA, file.length, (part) => onProgress(part / 2));
  await copyByDma(driver, PEER_IOVA, target.iova, file.length, (part) => onProgress(0.5 + part / 2));
  return target.bytes.slice(0, file.length);
}
