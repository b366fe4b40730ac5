/*
 * R10 against close(): an fd that a client sends may make its last holder wait.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { Attack, pause } from './attack.ts';

let attack: Attack;
let child: ChildProcess;
afterEach(() => {
  child.kill('SIGKILL');
  attack.target.stop();
});

test('a client that sends a socket which lingers delays nobody', async () => {
  attack = await Attack.begin();
  const program = join(attack.target.folder, 'linger');
  execFileSync('cc', ['-o', program, fileURLToPath(new URL('linger.c', import.meta.url))]);
  child = spawn(program, [attack.target.victimPath], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit').then(([code]) => [`ended with ${code}`]);
  const [said] = await Promise.race([once(child.stdout!, 'data'), ended]);
  expect(String(said)).toBe('sent\n');
  await pause(1000);
  // The peer that never read is gone, and with it whatever waited for it.
  child.kill('SIGKILL');
  await attack.end(500);
});
