/**
 * The terminal's settings. QEMU makes a terminal raw for the guest's console and undoes it at its end, unless it is killed.
 */
import { spawnSync } from 'node:child_process';
import { isatty } from 'node:tty';

const STDIN = 0;

/** Returns what brings the terminal on stdin back to how it is now; it does nothing where there is none. */
export function saveTerminal(): () => void {
  if (!isatty(STDIN)) return () => {};
  const saved = stty(['-g']);
  return () => {
    if (saved !== '') stty([saved]);
  };
}

function stty(words: readonly string[]): string {
  const result = spawnSync('stty', words, { stdio: ['inherit', 'pipe', 'ignore'], encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim() : '';
}
