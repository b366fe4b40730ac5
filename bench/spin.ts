/*
 * One search by SPIN's verifier, compiled with -O2, of what bench/explorer.mjs searches: in a process of its own because it is
 * TypeScript. The argument is how often everything is done. Prints one JSON line.
 */
import { askSpin } from '../test/spin/spin.ts';

const [rounds = '1'] = process.argv.slice(2);
const macros = [`ROUNDS=${rounds}`];
console.log(JSON.stringify(await askSpin({ model: 'decode', design: 'node-vfio', macros, large: true })));
