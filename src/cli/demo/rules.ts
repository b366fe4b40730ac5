/**
 * The demo's story: what happens to device memory as a DMA target when it is refused, taken away, given back
 * and gone. Each function is one chapter; each step says what must happen and what did.
 */
import type { DeviceHandle, MappedRegion } from '../../client/index.ts';
import { indexToOffset } from '../../core/index.ts';
import { RAM_MEMORY_BAR, RAM_SCRATCH_REGION, RAM_SCRATCH_SIZE } from '../../devices/ram/spec.ts';
import { hex } from '../size.ts';
import { outcome, PEER_IOVA, type Scene, setMemoryDecode } from './scene.ts';
import type { Story } from './story.ts';
import { Toucher } from './touch.ts';
import { copyByDma, roundTrip, sha256 } from './transfer.ts';

/** How much of the memory the steps look at: enough to recognise it. */
const PROBE_BYTES = 16;
const PAGE = 4096;

/** What the chapters after the first share. */
export interface Witnesses {
  /** A process that maps BAR2 and touches it only when it must work. */
  readonly patient: Pick<Toucher, 'read' | 'stop'>;
  /** This process's mapping of ram's device-specific region. */
  readonly scratch: MappedRegion;
}

/** R1, R2, R3: where memory lies, what may be mapped, and that it works. */
export async function consentChapter(story: Story, scene: Scene, file: Uint8Array): Promise<void> {
  const { edu, ram } = scene;
  const bar2 = await ram.regionInfo(RAM_MEMORY_BAR);
  story.tell({
    rule: 'R1',
    step: "ram's BAR2 lies at its index << 40",
    expected: hex(indexToOffset(RAM_MEMORY_BAR)),
    seen: hex(bar2.offset),
  });
  const refused = { index: RAM_SCRATCH_REGION, sizeBytes: RAM_SCRATCH_SIZE, iova: PEER_IOVA };
  story.tell({
    rule: 'R3',
    step: "give edu ram's region 9, whose driver did not consent",
    expected: 'EINVAL',
    seen: await outcome(() => edu.mapPeer(ram, refused), 'mapped'),
    linux: 'consent',
  });
  const allowed = { index: RAM_MEMORY_BAR, sizeBytes: scene.ramSizeBytes, iova: PEER_IOVA };
  story.tell({
    rule: 'R3',
    step: "give edu ram's BAR2, whose driver did consent",
    expected: 'mapped',
    seen: await outcome(() => edu.mapPeer(ram, allowed), 'mapped'),
  });
  const back = await roundTrip(scene, file, story.progress);
  story.tell({
    rule: 'R2',
    step: `${file.length} bytes: client memory, edu, ram's BAR2, and back`,
    expected: `sha256 ${short(sha256(file))}`,
    seen: `sha256 ${short(sha256(back))}`,
    ok: sha256(back) === sha256(file),
    linux: 'peer',
  });
}

/** Puts the witnesses in place before anything is taken away. */
export async function placeWitnesses(scene: Scene): Promise<Witnesses> {
  const { ram } = scene;
  const scratch = await ram.mmap(RAM_SCRATCH_REGION);
  scratch.bytes.fill(0x5c, 0, PROBE_BYTES);
  const patient = await mapInProcess(ram);
  return { patient, scratch };
}

/** R4, R5: memory decode off. */
export async function decodeOffChapter(story: Story, scene: Scene, witnesses: Witnesses): Promise<void> {
  const { ram, driver, servers, twoServers } = scene;
  const victim = await mapInProcess(ram);
  await setMemoryDecode(ram, false);
  const touch = await victim.read(PROBE_BYTES);
  await victim.stop();
  story.tell({
    rule: 'R4',
    step: "CPU touch of ram's BAR2 by a process that maps it",
    expected: 'killed by SIGBUS',
    seen: 'killedBy' in touch ? `killed by ${touch.killedBy}` : `read ${touch.bytes}`,
    linux: 'touchOff',
  });
  story.tell({
    rule: 'R4',
    step: "message access to ram's BAR2",
    expected: 'EIO',
    seen: await outcome(() => ram.readRegister(RAM_MEMORY_BAR, 0, 4), 'answered'),
    linux: 'messageOff',
  });
  await driver.dmaToDevice(PEER_IOVA, PAGE);
  story.tell({
    rule: 'R4',
    step: "edu's DMA to ram's BAR2",
    // Another process is told by its memory going away, not by the device: that is all it can know.
    expected: twoServers ? 'fault: memory was lost' : 'fault: memory decode is off',
    seen: await faultReason(servers.dmaFault()),
    linux: 'dmaOff',
  });
  story.tell({
    rule: 'R5',
    step: "touch of ram's region 9, which is no BAR",
    expected: `read ${'5c'.repeat(PROBE_BYTES)}`,
    seen: witnesses.scratch.lost ? 'lost' : `read ${toHex(witnesses.scratch.bytes)}`,
  });
}

/** R7, R8: memory decode on again; nobody does anything to get back what they had. */
export async function decodeOnChapter(
  story: Story,
  scene: Scene,
  witnesses: Witnesses,
  file: Uint8Array,
): Promise<void> {
  const { ram, driver, target } = scene;
  const start = `read ${toHex(file)}`;
  await setMemoryDecode(ram, true);
  const touch = await witnesses.patient.read(Math.min(PROBE_BYTES, file.length));
  story.tell({
    rule: 'R7',
    step: 'CPU touch through a mapping made before',
    expected: start,
    seen: 'bytes' in touch ? `read ${touch.bytes}` : `killed by ${touch.killedBy}`,
    linux: 'touchOn',
  });
  const message = new Uint8Array(Math.min(PROBE_BYTES, file.length));
  const answered = await outcome(() => ram.read(RAM_MEMORY_BAR, 0, message), 'read');
  story.tell({
    rule: 'R7',
    step: "message access to ram's BAR2",
    expected: start,
    seen: answered === 'read' ? `read ${toHex(message)}` : answered,
  });
  target.bytes.fill(0);
  await copyByDma(driver, PEER_IOVA, target.iova, file.length);
  const arrived = target.bytes.subarray(0, file.length);
  story.tell({
    rule: 'R7',
    step: "edu's DMA through the mapping made before",
    expected: start,
    seen: `read ${toHex(arrived)}`,
    linux: 'dmaOn',
  });
  story.tell({
    rule: 'R8',
    step: 'contents after off and on',
    expected: `sha256 ${short(sha256(file))}`,
    seen: `sha256 ${short(sha256(arrived))}`,
    ok: sha256(arrived) === sha256(file),
  });
}

/** R6: ram goes away for good while edu's IOMMU still maps it. */
export async function releaseChapter(story: Story, scene: Scene, witnesses: Witnesses): Promise<void> {
  const { driver, servers, twoServers } = scene;
  await servers.releaseRam();
  await driver.dmaToDevice(PEER_IOVA, PAGE);
  story.tell({
    rule: 'R6',
    step: "edu's DMA to a device that was released",
    expected: twoServers ? 'fault: memory was lost' : 'fault: device is released',
    seen: await faultReason(servers.dmaFault()),
    linux: 'released',
  });
  const touch = await witnesses.patient.read(PROBE_BYTES);
  story.tell({
    rule: 'R4',
    step: 'CPU touch of a device that was released',
    expected: 'killed by SIGBUS',
    seen: 'killedBy' in touch ? `killed by ${touch.killedBy}` : `read ${touch.bytes}`,
  });
}

/** A process of its own with the first page of ram's BAR2 mapped. */
async function mapInProcess(ram: DeviceHandle): Promise<Toucher> {
  const { offset } = await ram.regionInfo(RAM_MEMORY_BAR);
  return Toucher.start(await ram.regionFd(RAM_MEMORY_BAR), offset, PAGE);
}

async function faultReason(fault: Promise<{ readonly reason: string }>): Promise<string> {
  let reason = '';
  const seen = await outcome(async () => {
    reason = (await fault).reason;
  }, 'fault');
  return seen === 'fault' ? `fault: ${reason}` : 'no fault';
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(0, PROBE_BYTES)).toString('hex');
}

function short(digest: string): string {
  return digest.slice(0, 16);
}
