/*
 * A process with a device of its own, whose DMA goes to memory that belongs to another process: descriptor 3.
 * One command a line on stdin, one answer a line on stdout:
 *
 *   map OFFSET SIZE   -> description of the source, or the errno's name; the IOVA is the offset in the region
 *   read IOVA COUNT   -> the bytes in hexadecimal, or "fault: REASON"
 *   write IOVA HEX    -> "ok", or "fault: REASON"
 */
import { createInterface } from 'node:readline';
import { Container } from '../../src/core/container.ts';
import { offsetInRegion, VfioError } from '../../src/core/index.ts';
import { ClientFiles, classify, DmaEngine, RegionRegistry } from '../../src/memory/index.ts';
import { openSys } from '../../src/sys/index.ts';

const MEMORY_FD = 3;

const sys = openSys();
const container = new Container();
const engine = new DmaEngine(container, sys, null);
const context = { sys, files: ClientFiles.of(sys), registry: RegionRegistry.of(sys) };

function map(offset: number, size: number): string {
  const iova = offsetInRegion(offset);
  const rights = { read: true, write: true };
  try {
    const source = classify(
      { fd: sys.dup(MEMORY_FD), offset, size, iova, ...rights, mode: 'any', peerPid: null },
      context,
    );
    container.map({ iova, size, ...rights, source });
    return source.description;
  } catch (error) {
    if (error instanceof VfioError) return error.code;
    throw error;
  }
}

async function read(iova: number, count: number): Promise<string> {
  const target = new Uint8Array(count);
  const fault = await engine.read(iova, target);
  return fault === null ? Buffer.from(target).toString('hex') : `fault: ${fault.reason}`;
}

async function write(iova: number, hex: string): Promise<string> {
  const fault = await engine.write(iova, Buffer.from(hex, 'hex'));
  return fault === null ? 'ok' : `fault: ${fault.reason}`;
}

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, first = '', second = ''] = line.split(' ');
  let answer = `unknown command ${verb}`;
  if (verb === 'map') answer = map(Number(first), Number(second));
  if (verb === 'read') answer = await read(Number(first), Number(second));
  if (verb === 'write') answer = await write(Number(first), second);
  process.stdout.write(`${answer}\n`);
}
