/*
 * Writes the archive that Linux unpacks as its first root file system: cpio in the "newc" format
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */

const MODE_FOLDER = 0o040755;
const MODE_PROGRAM = 0o100755;
const MODE_LINK = 0o120777;

const MAGIC = '070701';
const TRAILER = 'TRAILER!!!';

/** One file of the archive: a folder, a program or data (everything may be executed), or a symbolic link. */
export type ArchiveEntry =
  | { readonly type: 'folder'; readonly path: string }
  | { readonly type: 'file'; readonly path: string; readonly data: Uint8Array }
  | { readonly type: 'link'; readonly path: string; readonly target: string };

/** The archive. Paths have no leading slash; folders that files lie in are added where they are missing. */
export function cpioArchive(entries: readonly ArchiveEntry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const known = new Set<string>();
  let inode = 1;
  const add = (path: string, mode: number, data: Uint8Array): void => {
    known.add(path);
    const name = new TextEncoder().encode(`${path}\0`);
    parts.push(padded(concatenated([header(inode, mode, data.length, name.length), name])), padded(data));
    inode += 1;
  };
  for (const entry of entries) {
    for (const folder of foldersOf(entry.path)) {
      if (!known.has(folder)) add(folder, MODE_FOLDER, new Uint8Array());
    }
    if (known.has(entry.path)) continue;
    if (entry.type === 'folder') add(entry.path, MODE_FOLDER, new Uint8Array());
    else if (entry.type === 'file') add(entry.path, MODE_PROGRAM, entry.data);
    else add(entry.path, MODE_LINK, new TextEncoder().encode(entry.target));
  }
  add(TRAILER, 0, new Uint8Array());
  return concatenated(parts);
}

/** Thirteen numbers of eight hexadecimal digits behind the magic. */
function header(inode: number, mode: number, dataBytes: number, nameBytes: number): Uint8Array {
  const links = 1;
  const numbers = [inode, mode, 0, 0, links, 0, dataBytes, 0, 0, 0, 0, nameBytes, 0];
  return new TextEncoder().encode(MAGIC + numbers.map((n) => n.toString(16).padStart(8, '0')).join(''));
}

function foldersOf(path: string): string[] {
  const names = path.split('/').slice(0, -1);
  return names.map((_, index) => names.slice(0, index + 1).join('/'));
}

/** Name and data each end at a multiple of four bytes. */
function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  result.set(bytes);
  return result;
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
