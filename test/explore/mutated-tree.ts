/*
 * The explorer and all that it runs, compiled into a folder of its own, so that one line of it can be changed and the result be run.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import ts from 'typescript';
import type { Mutant } from './mutants.ts';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  rewriteRelativeImportExtensions: true,
};

/** What the explorer said: the property that broke and where, or how it crashed. */
export interface Verdict {
  /** For example 'R6 in 16 steps of decode', 'crash: ...', or null: nothing was found. */
  readonly found: string | null;
}

/** Tries the built-in programs under our design and stops at the first that breaks. */
const RUN = `
import { parentPort } from 'node:worker_threads';
const found = async () => {
  const { PROGRAMS, search } = await import('./explore/index.js');
  const { DESIGNS } = await import('./sim/index.js');
  const design = DESIGNS.find(({ name }) => name === 'node-vfio');
  for (const program of PROGRAMS) {
    const { findings } = search(program, design, { stopAtFirst: true });
    if (findings.length > 0) return findings[0].property + ' in ' + findings[0].moves.length + ' steps of ' + program.name;
  }
  return null;
};
try {
  parentPort.postMessage({ found: await found() });
} catch (error) {
  parentPort.postMessage({ found: 'crash: ' + error.message });
}
`;

/** A compiled copy of the rooms that the explorer needs. */
export class MutatedTree {
  readonly #folder: string = mkdtempSync(join(tmpdir(), 'vfio-mutants-'));

  constructor() {
    writeFileSync(join(this.#folder, 'package.json'), '{"type": "module"}');
    for (const room of ['abi', 'core', 'sim', 'explore']) {
      for (const name of readdirSync(join(SRC, room), { recursive: true, encoding: 'utf8' })) {
        const path = join(room, name);
        if (path.endsWith('.ts') && !path.endsWith('.test.ts'))
          this.#write(path, readFileSync(join(SRC, path), 'utf8'));
      }
    }
    writeFileSync(join(this.#folder, 'run.js'), RUN);
  }

  /** Throws unless the line is in the file exactly once. */
  static apply({ file, find, replace, name }: Mutant): string {
    const text = readFileSync(join(SRC, file), 'utf8');
    const places = text.split(find).length - 1;
    if (places === 1) return text.replace(find, () => replace);
    throw new Error(
      `mutant '${name}': the text to change is ${places} times in src/${file}; correct the mutant`,
    );
  }

  /** What the explorer says of the tree with one mistake in it, or as it is. */
  async verdict(mutant: Mutant | null): Promise<Verdict> {
    if (mutant === null) return this.#run();
    const original = readFileSync(join(SRC, mutant.file), 'utf8');
    this.#write(mutant.file, MutatedTree.apply(mutant));
    try {
      return await this.#run();
    } finally {
      this.#write(mutant.file, original);
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }

  #write(path: string, text: string): void {
    const target = join(this.#folder, path.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, ts.transpileModule(text, { compilerOptions: OPTIONS }).outputText);
  }

  #run(): Promise<Verdict> {
    return new Promise((resolve, reject) => {
      const worker = new Worker(join(this.#folder, 'run.js'));
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  }
}
