/**
 * Names of vendors, devices and classes from the system's pci.ids, the file that lspci uses.
 *
 * The file belongs to the system (Debian: package pci.ids) and is not part of this package; without it
 * everything works and ids are shown as numbers.
 */
import { readFileSync } from 'node:fs';

/** Where distributions keep the file, in the order of trying. */
const PCI_IDS_PATHS: readonly string[] = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids'];

export interface PciNames {
  vendor(vendorId: number): string | null;
  device(vendorId: number, deviceId: number): string | null;
  /** `classCode`: base class in the high byte, subclass in the low. Falls back to the base class's name. */
  className(classCode: number): string | null;
}

/** Names from the text of a pci.ids file. It has some 40,000 lines, so only what is asked for is parsed. */
export function parsePciIds(text: string): PciNames {
  const lines = `\n${text}`;
  const vendorBlock = (vendorId: number) => block(lines, hexId(vendorId, 4));
  const classBlock = (baseClass: number) => block(lines, `C ${hexId(baseClass, 2)}`);
  return {
    vendor: (vendorId) => vendorBlock(vendorId)?.name ?? null,
    device: (vendorId, deviceId) => entry(vendorBlock(vendorId)?.body, hexId(deviceId, 4)),
    className(classCode) {
      const found = classBlock(classCode >>> 8);
      return entry(found?.body, hexId(classCode & 0xff, 2)) ?? found?.name ?? null;
    },
  };
}

/** The system's names; a source that knows nothing where the system has no pci.ids. */
export function systemPciNames(paths: readonly string[] = PCI_IDS_PATHS): PciNames {
  for (const path of paths) {
    try {
      return parsePciIds(readFileSync(path, 'utf8'));
    } catch {
      // The next place may have it; having none is no error.
    }
  }
  return { vendor: () => null, device: () => null, className: () => null };
}

function hexId(id: number, digits: number): string {
  return id.toString(16).padStart(digits, '0');
}

/** The line that starts with `key` at the left margin, and the indented lines below it. */
function block(lines: string, key: string): { name: string; body: string } | null {
  const start = lines.indexOf(`\n${key}  `);
  if (start < 0) return null;
  const lineEnd = endOfLine(lines, start + 1);
  // A block ends where a line starts that is neither indented nor a comment.
  const next = /\n[^\t#\n]/g;
  next.lastIndex = lineEnd;
  const end = next.exec(lines)?.index ?? lines.length;
  return { name: lines.slice(start + key.length + 3, lineEnd), body: lines.slice(lineEnd, end) };
}

function entry(body: string | undefined, key: string): string | null {
  const start = body?.indexOf(`\n\t${key}  `) ?? -1;
  if (body === undefined || start < 0) return null;
  return body.slice(start + key.length + 4, endOfLine(body, start + 1));
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}
