/*
 * With sysctl vm.memfd_noexec a kernel makes every memfd sealable. A device's memory must not be: a client that has its fd
 * could seal it, and it could not be taken away from that client any more (R4). The sysctl belongs to a PID namespace, so
 * root can try it in one of its own.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

const SEAL_IT = `
import { openSys } from './src/sys/index.ts';
const sys = openSys();
const fd = sys.memfdCreate('device');
sys.ftruncate(fd, 4096);
try {
  sys.addSeals(fd, 2);
  console.log('sealed');
} catch (error) {
  console.log(error.code);
}`;

function inNamespace(script: string): string {
  const words = ['-p', '-f', '--mount-proc', 'sh', '-c', script];
  const result = spawnSync('unshare', words, { cwd: root, encoding: 'utf8', timeout: 25_000 });
  return `${result.stdout ?? ''}${result.stderr ?? ''}`.trim();
}

const canTry = inNamespace('echo 1 > /proc/sys/vm/memfd_noexec && cat /proc/sys/vm/memfd_noexec') === '1';
if (!canTry) console.log('vm.memfd_noexec is not tried: that takes root and Linux 6.3 or newer');

test.runIf(canTry).each([1, 2])('memory takes no seals with vm.memfd_noexec=%i', (value) => {
  const node = `"${process.execPath}" --import tsx --input-type=module -e '${SEAL_IT.replaceAll("'", '"')}'`;
  expect(inNamespace(`echo ${value} > /proc/sys/vm/memfd_noexec && ${node}`)).toBe('EPERM');
});
