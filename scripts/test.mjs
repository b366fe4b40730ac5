/*
 * `npm test`: sets up what is missing, runs every test with vitest, and ends with one line, `N passed, N failed`.
 * The explorer's whole matrix runs by itself afterwards, because it takes all processors for minutes.
 * Arguments go to vitest: `npm test -- src/core` runs one room. Tests with a real QEMU run where `npm run test:vm` has
 * set it up before: nothing is downloaded unasked.
 */
import { finish, runVitest, setUp } from './vitest.mjs';
import { isSetUp, VM_CONFIG } from './vm.mjs';

if (!setUp()) finish([]);
const args = process.argv.slice(2);
const runs = [runVitest(args)];
if (args.length === 0) {
  runs.push(runVitest(['--config', 'vitest.matrix.config.ts']));
  if (await isSetUp()) runs.push(runVitest(VM_CONFIG));
  else
    console.log(
      'test/vm was left out: `npm run test:vm` fetches a QEMU and guest kernels (350 MB) and runs it',
    );
}
finish(runs);
