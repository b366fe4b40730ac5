import { describe, expect, it } from 'vitest';
import { QemuArgumentError, readArguments } from './arguments.ts';
import { guestMemory } from './guest-memory.ts';

const GIB = 2 ** 30;

function memory(line: string, memoryBytes: number | null = null): ReturnType<typeof guestMemory> {
  return guestMemory(readArguments(line.split(' ').filter((word) => word !== '')), memoryBytes);
}

function ours(size: string, id: string = 'mem'): ReturnType<typeof guestMemory> {
  return {
    machineProperty: `memory-backend=${id}`,
    words: ['-m', size, '-object', `memory-backend-memfd,id=${id},size=${size},share=on`],
  };
}

describe('the size', () => {
  it.each<[what: string, line: string, memoryBytes: number | null, size: string]>([
    ['is 1 GiB when nobody says', '', null, '1024M'],
    ['is what --memory says', '', 2 * GIB, '2048M'],
    ['is what -m says', '-m 512M', null, '512M'],
    ['counts MiB without a unit', '-m 512', null, '512M'],
    ['may be a fraction', '-m 1.5G', null, '1536M'],
    ['is found among properties', '-m slots=2,size=4G,maxmem=8G', null, '4096M'],
    ['is that of the last -m that says one', '-m 1G -m 2G -m slots=2,maxmem=8G', null, '2048M'],
    ['is the default beside slots alone', '-m slots=2,maxmem=8G', null, '1024M'],
    ['may be said twice', '-m 2G', 2 * GIB, '2048M'],
  ])('%s', (_what, line, memoryBytes, size) => {
    expect(memory(line, memoryBytes)).toEqual(ours(size));
  });

  it.each([
    ['two sizes', '-m 1G', 2 * GIB, 'Leave one out'],
    ['no size', '-m lots', null, 'Write MiB'],
    ['nothing', '-m 0', null, 'whole MiB'],
    ['half a MiB', '', 2 ** 19, 'whole MiB'],
    ['a property of the machine', '-machine pc,memory.size=2G', null, 'Write -m'],
  ])('is refused when it is %s', (_what, line, memoryBytes, text) => {
    expect(() => memory(line, memoryBytes)).toThrow(QemuArgumentError);
    try {
      memory(line, memoryBytes);
    } catch (error) {
      expect(`${(error as Error).message} ${(error as QemuArgumentError).nextStep}`).toContain(text);
    }
  });
});

describe('a backend of your own', () => {
  it.each([
    '-machine pc,memory-backend=r -object memory-backend-memfd,id=r,size=1G',
    '-M memory-backend=r -object memory-backend-memfd,id=r,size=1G,share=on',
    '-M memory-backend=r -object memory-backend-file,id=r,size=1G,mem-path=/dev/shm/x,share=on',
    '-M memory-backend=r -object memory-backend-ram,id=r,size=1G,share=on',
    '-M memory-backend=r -object {"qom-type":"memory-backend-memfd","id":"r","size":1,"share":true}',
    '-M memory-backend=x -M memory-backend=r -object memory-backend-memfd,id=r,size=1G',
  ])('is used when it is shared: %s', (line) => {
    expect(memory(line)).toEqual({ machineProperty: null, words: [] });
  });

  it.each([
    ['-M memory-backend=r -object memory-backend-memfd,id=r,size=1G,share=off', 'is private'],
    ['-M memory-backend=r -object memory-backend-file,id=r,size=1G,mem-path=/dev/shm/x', 'is private'],
    ['-M memory-backend=r -object memory-backend-ram,id=r,size=1G', 'not shared'],
    ['-M memory-backend=r -object memory-backend-epc,id=r,size=1G', 'not shared'],
    ['-M memory-backend=r', 'not among the arguments'],
    ['-M memory-backend=', 'not among the arguments'],
    ['-object memory-backend-file,id=dimm,size=1G,mem-path=/x -device pc-dimm,memdev=dimm', 'private'],
    ['-numa node,memdev=r -object memory-backend-memfd,id=r,size=1G', 'memdev'],
    ['-mem-path /dev/hugepages', 'share'],
    ['-readconfig x.cfg', 'shared'],
  ])('is refused when it is not: %s', (line, text) => {
    expect(() => memory(line)).toThrow(text);
    expect(() => memory(line)).toThrow(QemuArgumentError);
  });

  it('and --memory exclude each other', () => {
    const line = '-M memory-backend=r -object memory-backend-memfd,id=r,size=1G';
    expect(() => memory(line, GIB)).toThrow('exclude each other');
  });

  it('that is no memory of the guest may be what it likes, and keeps its name', () => {
    expect(memory('-object memory-backend-ram,id=mem,size=1M -object rng-random,id=mem2')).toEqual(
      ours('1024M', 'mem3'),
    );
  });
});
