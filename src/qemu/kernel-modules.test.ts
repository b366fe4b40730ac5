import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { dependencies, moduleClosure } from './kernel-modules.ts';

const folders: string[] = [];

/** A folder like a kernel's: modules by path, each with the names that it depends on. */
function kernel(modules: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'vfio-modules-'));
  folders.push(folder);
  for (const [path, depends] of Object.entries(modules)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), `\x7fELF\0license=GPL\0depends=${depends}\0name=x\0`);
  }
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const names = (folder: string, wanted: readonly string[]): string[] => {
  return moduleClosure(folder, wanted, 'no busybox needed').map(({ name }) => name);
};

test('what a module needs comes before it, once, wherever it lies', () => {
  const folder = kernel({
    'drivers/vfio/pci/vfio-pci.ko': 'vfio-pci-core,vfio',
    'drivers/vfio/pci/vfio-pci-core.ko': 'vfio,irqbypass',
    'drivers/vfio/vfio.ko': '',
    'virt/lib/irqbypass.ko': '',
  });
  expect(names(folder, ['vfio-pci'])).toEqual(['vfio', 'irqbypass', 'vfio_pci_core', 'vfio_pci']);
});

test('what is built into the kernel is left out; - and _ are the same', () => {
  const folder = kernel({ 'a-b.ko': 'built_in' });
  expect(names(folder, ['a_b', 'another_built_in'])).toEqual(['a_b']);
});

test('modules that need each other end', () => {
  expect(names(kernel({ 'a.ko': 'b', 'b.ko': 'a' }), ['a'])).toEqual(['b', 'a']);
});

test('a module without dependencies says so in two ways', () => {
  expect(dependencies(new TextEncoder().encode('x\0depends=\0y'))).toEqual([]);
  expect(dependencies(new TextEncoder().encode('nothing'))).toEqual([]);
});
