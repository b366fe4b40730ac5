/**
 * A process of its own that maps device memory from the descriptor it inherits and touches it on command.
 *
 * It is what any program is that has a BAR mapped: no guard stands between it and SIGBUS, so a touch of
 * memory that was taken away kills it, and the parent sees the signal. Commands come in on stdin, one a line;
 * each answer is one line on stdout:
 *   `read N`  the first N bytes of the mapping, hexadecimal
 */
import { createInterface } from 'node:readline';
import { openSys } from '../../sys/index.ts';

/** Descriptor that the parent puts behind the three standard ones. */
const MEMORY_FD = 3;

/**
 * Gives SIGBUS back its default action. The addon catches it for whoever maps memory through it; libuv resets
 * a signal to its default when its last listener goes.
 */
function dropSigbusGuard(): void {
  const nothing = () => {};
  process.on('SIGBUS', nothing);
  process.off('SIGBUS', nothing);
}

const [offset, sizeBytes] = process.argv.slice(2).map(Number);
if (offset === undefined || sizeBytes === undefined) {
  process.stderr.write('usage: toucher OFFSET SIZE, with the memory as descriptor 3\n');
  process.exit(2);
}
const mapping = openSys().map(MEMORY_FD, offset, sizeBytes, 'r');
dropSigbusGuard();
process.stdout.write('mapped\n');

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, count] = line.split(' ');
  if (verb !== 'read') {
    process.stdout.write(`unknown command ${verb}\n`);
    continue;
  }
  const bytes = Buffer.from(mapping.bytes.slice(0, Number(count)));
  process.stdout.write(`${bytes.toString('hex')}\n`);
}
