/*
 * Which files of a tree an audit has to look into. A kernel has tens of thousands; a search for a few words leaves a
 * few hundred: those that define VFIO operations, what is beside them, VFIO itself, and whoever reads `vm_pgoff` of
 * other people's mappings.
 */
import { type Dirent, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { VfioError } from '../core/index.ts';
import { mayConsume } from './consumers.ts';
import { type SourceFile, sourceFile } from './tokens.ts';

const SOURCE = /\.[ch]$/;
const OPERATIONS = ['vfio_device_ops', 'vfio_pci_regops', 'mdev_parent_ops'];
const SUBSYSTEM = /(^|\/)(drivers\/vfio\/|include\/(uapi\/)?linux\/(vfio|mdev)[^/]*\.h$)/;
const SKIPPED_FOLDERS = new Set([
  '.git',
  'Documentation',
  'tools',
  'scripts',
  'node_modules',
  'LICENSES',
  'usr',
  'certs',
]);
/** Files beside a driver belong to it; those beside a header of the whole kernel do not. */
const SHARED_FOLDER = /(^|\/)include\//;
const MAX_FILE_BYTES = 16 << 20;
const MAX_FILES = 500_000;
const PROGRESS_EVERY = 2_000;

export interface Collected {
  /** The folder that paths are relative to. */
  readonly root: string;
  readonly sources: readonly SourceFile[];
  /** How many were searched. */
  readonly searched: number;
  /** Paths that the user named, when he named files; findings elsewhere are not his. */
  readonly named: ReadonlySet<string> | null;
}

/** ENOENT for a path that is not there, EINVAL where nothing could be audited. */
export function collect(paths: readonly string[], progress: (text: string) => void): Collected {
  const absolute = paths.map((path) => resolve(path));
  const kinds = absolute.map((path) => {
    try {
      return statSync(path).isDirectory();
    } catch (error) {
      throw new VfioError('ENOENT', `${path} is not there. Name a kernel tree, or files of one`, {
        cause: error,
      });
    }
  });
  const root = rootOf(absolute, kinds);
  const inTree = (path: string): string => relative(root, path).split(sep).join('/');
  const contents = new Map<string, Buffer>();
  const chosen = new Set<string>();
  let searched = 0;

  const load = (path: string): Buffer | null => {
    const known = contents.get(path);
    if (known !== undefined) return known;
    if (statSync(path).size > MAX_FILE_BYTES) return null;
    return readFileSync(path);
  };
  const choose = (path: string, content: Buffer | null): void => {
    if (content === null || chosen.has(path)) return;
    chosen.add(path);
    contents.set(path, content);
  };
  const beside = (path: string): void => {
    const folder = dirname(path);
    if (SHARED_FOLDER.test(inTree(path))) return;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isFile() && SOURCE.test(entry.name))
        choose(join(folder, entry.name), load(join(folder, entry.name)));
    }
  };
  const search = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (!SKIPPED_FOLDERS.has(entry.name)) search(path);
        continue;
      }
      if (!SOURCE.test(entry.name) || !isFile(entry, path)) continue;
      if (++searched % PROGRESS_EVERY === 0) progress(`searched ${searched} files, now ${inTree(folder)}`);
      if (searched > MAX_FILES) {
        throw new VfioError('EINVAL', `more than ${MAX_FILES} files below ${root}. Name a kernel tree`);
      }
      const content = load(path);
      if (content === null) continue;
      if (SUBSYSTEM.test(inTree(path))) choose(path, content);
      else if (OPERATIONS.some((name) => content.includes(name))) {
        choose(path, content);
        beside(path);
      } else if (mayConsume(content)) choose(path, content);
    }
  };

  const named = new Set<string>();
  absolute.forEach((path, index) => {
    if (kinds[index]) {
      search(path);
      return;
    }
    searched++;
    named.add(inTree(path));
    choose(path, load(path));
    beside(path);
  });
  if (searched === 0) {
    throw new VfioError(
      'EINVAL',
      `there are no C files below ${paths.join(', ')}. Name a kernel tree, or files of one`,
    );
  }
  if (named.size > 0 || absolute.some((path) => path !== root)) addSubsystem(root, chosen, choose, load);
  const sources = [...chosen]
    .sort()
    .map((path) => sourceFile(inTree(path), contents.get(path)!.toString('utf8')));
  return { root, sources, searched, named: named.size === 0 ? null : named };
}

/** Links to files are files: some trees consist of them. Links to folders may lead in circles and are not followed. */
function isFile(entry: Dirent, path: string): boolean {
  if (!entry.isSymbolicLink()) return entry.isFile();
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

/** VFIO's own files, which an audit of a part of a tree needs to follow calls. */
function addSubsystem(
  root: string,
  chosen: ReadonlySet<string>,
  choose: (path: string, content: Buffer | null) => void,
  load: (path: string) => Buffer | null,
): void {
  for (const folder of ['drivers/vfio', 'include/linux', 'include/uapi/linux']) {
    let names: string[];
    try {
      names = readdirSync(join(root, folder), { recursive: folder === 'drivers/vfio', encoding: 'utf8' });
    } catch {
      continue;
    }
    for (const name of names) {
      const path = join(root, folder, name);
      const isWanted = SOURCE.test(name) && (folder === 'drivers/vfio' || /^(vfio|mdev)/.test(name));
      if (isWanted && !chosen.has(path)) choose(path, load(path));
    }
  }
}

/** The kernel tree around the paths, or the folder that holds all of them. */
function rootOf(paths: readonly string[], areFolders: readonly boolean[]): string {
  for (let folder = paths[0]!; ; folder = dirname(folder)) {
    if (isTree(folder)) return folder;
    if (dirname(folder) === folder) break;
  }
  let common = areFolders[0] ? paths[0]! : dirname(paths[0]!);
  while (paths.some((path) => path !== common && !path.startsWith(common === sep ? sep : common + sep))) {
    common = dirname(common);
  }
  return common;
}

function isTree(folder: string): boolean {
  try {
    return (
      statSync(join(folder, 'include/linux')).isDirectory() && statSync(join(folder, 'Kconfig')).isFile()
    );
  } catch {
    return false;
  }
}
