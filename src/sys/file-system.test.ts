import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fileSystemIn, isLocal } from './file-system.ts';
import { openSys } from './index.ts';

// The format of proc(5), with the example's optional fields.
const MOUNTINFO = `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
40 35 0:52 / /mnt/slow rw,nosuid shared:7 master:2 - fuse.slowfs slowfs rw,user_id=1000
41 35 0:300 / /data rw - btrfs /dev/sda2 rw
`;
/** makedev(3): glibc's layout of dev_t. */
const makedev = (major: number, minor: number): number =>
  (minor & 0xff) + (major & 0xfff) * 2 ** 8 + Math.floor(minor / 256) * 2 ** 20;

test('a file system is found by the device, else by the mount', () => {
  expect(fileSystemIn(MOUNTINFO, makedev(98, 0), null)).toBe('ext3');
  expect(fileSystemIn(MOUNTINFO, makedev(0, 300), null)).toBe('btrfs');
  expect(fileSystemIn(MOUNTINFO, makedev(0, 52), '36')).toBe('fuse.slowfs');
  expect(fileSystemIn(MOUNTINFO, makedev(0, 99), '41')).toBe('btrfs');
  expect(fileSystemIn(MOUNTINFO, makedev(0, 99), '99')).toBeNull();
});

test('what another program or machine serves is not local, nor is what nobody knows', () => {
  expect(['ext4', 'xfs', 'tmpfs', 'hugetlbfs', 'overlay'].map(isLocal)).toEqual(new Array(5).fill(true));
  expect(['fuse', 'fuse.sshfs', 'fuseblk', 'nfs4', '9p', null].map(isLocal)).toEqual(
    new Array(6).fill(false),
  );
});

test('a memfd and a file on disk are local; what has no mount is not', () => {
  const sys = openSys();
  const folder = mkdtempSync(join(tmpdir(), 'vfio-mount-'));
  const fds = [sys.memfdCreate('local'), openSync(join(folder, 'file'), 'w+'), sys.eventfd()];
  expect(fds.map((fd) => sys.isLocalFile(fd, sys.identity(fd)))).toEqual([true, true, false]);
  for (const fd of fds) sys.close(fd);
  rmSync(folder, { recursive: true });
});
