/*
 * `npm run test:vm`: tests with a real QEMU and real guest kernels. Fetches them into the user's cache folder when they
 * are not there (Debian's packages, nothing is installed); `npm run test:vm -- --setup` does that only.
 */
import { finish, runVitest, setUp } from './vitest.mjs';
import { setUpVm, VM_CONFIG } from './vm.mjs';

if (!setUp()) finish([]);
try {
  await setUpVm();
} catch (error) {
  console.error(`vm: ${error.message}`);
  finish([]);
}
const args = process.argv.slice(2);
if (!args.includes('--setup')) finish([runVitest([...VM_CONFIG, ...args])]);
