/*
 * The process under attack: one server whose clients are hostile (`victim`) and one whose client is not (`witness`). It
 * answers questions about itself on stdin, one line each.
 */
import { createInterface } from 'node:readline';
import { ClientFiles } from '../../src/memory/index.ts';
import { VfioUserServer } from '../../src/server/index.ts';
import { openSys } from '../../src/sys/index.ts';
import { TestDevice } from '../support/test-device.ts';

const folder = process.argv[2]!;
const sys = openSys();
const victim = new VfioUserServer(new TestDevice('victim', { ioEventfds: 3 }), {
  socketPath: `${folder}/victim`,
  requestTimeoutMs: 100,
  negotiationTimeoutMs: 300,
});
const witness = new VfioUserServer(new TestDevice('witness'), { socketPath: `${folder}/witness` });
let sessions = 0;
victim.on('session', () => {
  sessions += 1;
});
await victim.listen();
await witness.listen();

const leaked: unknown[] = [];

function leak(): void {
  const fd = sys.memfdCreate('leak');
  sys.ftruncate(fd, 4096);
  leaked.push(sys.map(fd, 0, 4096, 'rw'));
}

createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'leak') leak();
  (globalThis as { gc?: () => void }).gc?.();
  const { mappings, connections, watchers } = sys.counts();
  const clientFiles = ClientFiles.of(sys).openFiles;
  const attached = victim.session !== null;
  const rssBytes = process.memoryUsage.rss();
  console.log(JSON.stringify({ mappings, connections, watchers, clientFiles, attached, sessions, rssBytes }));
});
console.log('ready');
