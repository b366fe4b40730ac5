/*
 * A folder as a user of the package has it: node_modules with this package in it, and files of the test.
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../e2e/support.ts';

/** What a user installs beside it. */
const TOOLS = ['vitest', 'tsx'];

export class Project {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'vfio-project-'));

  constructor() {
    mkdirSync(join(this.folder, 'node_modules'));
    symlinkSync(root, join(this.folder, 'node_modules/vfio'));
    for (const name of TOOLS) {
      symlinkSync(join(root, 'node_modules', name), join(this.folder, 'node_modules', name));
    }
  }

  /** Writes a file and returns its path. */
  write(name: string, text: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
