import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { COMPLETE, cacheFolder, findCache } from './cache-folder.ts';
import { debianMirror } from './debian-packages.ts';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vfio-cache-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

function put(path: string, content: string = ''): void {
  mkdirSync(join(folder, path, '..'), { recursive: true });
  writeFileSync(join(folder, path), content);
}

test('the cache lies where the environment says', () => {
  expect(cacheFolder({ VFIO_CACHE: '/own' })).toBe('/own');
  expect(cacheFolder({ XDG_CACHE_HOME: '/xdg', VFIO_CACHE: '' })).toBe('/xdg/vfio');
  expect(cacheFolder({})).toMatch(/\/\.cache\/vfio$/);
});

describe('a cache', () => {
  beforeEach(() => {
    put('qemu-system-x86_64');
    put('busybox');
  });

  test('whose filling was interrupted is none', () => {
    expect(findCache(folder)).toBeNull();
    put(COMPLETE);
    expect(findCache(folder)?.qemu).toBe(join(folder, 'qemu-system-x86_64'));
    rmSync(join(folder, 'busybox'));
    expect(findCache(folder)).toBeNull();
  });

  test('has the kernels that are whole', () => {
    put(COMPLETE);
    put('linux-6.1/modules/drivers/x.ko');
    put('linux-6.1/vmlinuz');
    put(`linux-6.1/${COMPLETE}`, 'vmlinuz');
    put('linux-7.3/vmlinuz');
    expect([...findCache(folder)!.kernels.keys()]).toEqual(['6.1']);
    expect(findCache(folder)!.kernels.get('6.1')!.image).toBe(join(folder, 'linux-6.1/vmlinuz'));
  });
});

describe("Debian's mirror", () => {
  test('is read from either kind of source', () => {
    put(
      'sources.list',
      '# deb http://no.test/debian x main\ndeb [arch=amd64] http://one.test/debian bookworm main\n',
    );
    expect(debianMirror({}, folder)).toBe('http://one.test/debian');
    put('sources.list.d/debian.sources', 'Types: deb\nURIs: http://two.test/debian/\nSuites: trixie\n');
    expect(debianMirror({}, folder)).toBe('http://two.test/debian/');
    expect(debianMirror({ VFIO_DEBIAN_MIRROR: 'http://three.test/debian' }, folder)).toBe(
      'http://three.test/debian',
    );
  });

  test('is asked for where there is none: security and other repositories are no mirror', () => {
    put(
      'sources.list',
      'deb http://one.test/debian-security bookworm main\ndeb http://two.test/apt x main\n',
    );
    expect(() => debianMirror({}, folder)).toThrow(/VFIO_DEBIAN_MIRROR/);
  });
});
