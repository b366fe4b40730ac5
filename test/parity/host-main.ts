/*
 * A process that serves devices of the probe. Commands on stdin, one a line, an answer a line:
 *   serve NAME    -> the address
 *   release NAME  -> released
 */
import { createInterface } from 'node:readline';
import { LocalServers } from './hosts.ts';
import type { DeviceName } from './world.ts';

const servers = new LocalServers(() => {});
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, name] = line.split(' ') as [string, DeviceName];
  if (verb === 'serve') process.stdout.write(`${await servers.place(name)}\n`);
  else {
    await servers.release(name);
    process.stdout.write('released\n');
  }
}
await servers.end();
