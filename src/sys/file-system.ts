/*
 * Which file system a peer's file lies in. A file system that another program serves (FUSE) makes each touch of its files
 * wait as long as that program likes, and the peer may be that program. Asking the file itself would be such a touch, so
 * its mount is looked up in a table of the kernel.
 */

/** File systems whose data comes from another program or another machine. */
const SERVED_ELSEWHERE =
  /^(fuse|fuseblk|fuse\..*|virtiofs|9p|nfs|nfs4|cifs|smb3|ceph|afs|lustre|glusterfs|gfs2|ocfs2)$/;

/** The parts of st_dev, as /proc writes them (gnu_dev_major, gnu_dev_minor). */
function deviceText(dev: number): string {
  const word = dev % 2 ** 32;
  const major = (word >>> 8) & 0xfff;
  const minor = (word & 0xff) | ((word >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/**
 * Type of the file system in a text like /proc/self/mountinfo (proc(5)) that has st_dev `dev`, or else is mounted as
 * `mountId`; null if there is none.
 */
export function fileSystemIn(mountinfo: string, dev: number, mountId: string | null): string | null {
  const device = deviceText(dev);
  let byMount: string | null = null;
  for (const line of mountinfo.split('\n')) {
    const [id, , where] = line.split(' ', 3);
    const type = / - (\S+) /.exec(line)?.[1];
    if (type === undefined) continue;
    if (where === device) return type;
    if (id === mountId) byMount = type;
  }
  return byMount;
}

/** Whether files of a file system never wait for anything but this kernel and its disks. null (a mount of others): no. */
export function isLocal(type: string | null): boolean {
  return type !== null && !SERVED_ELSEWHERE.test(type);
}
