import { describe, expect, test } from 'vitest';
import { parseDesign } from './design.ts';
import { DESIGNS } from './designs.ts';
import { parseProgram } from './parse-program.ts';
import { pciDevice } from './program.ts';

describe('parseDesign', () => {
  const parse = (value: unknown): unknown => parseDesign(value, DESIGNS);

  test('a design is one that is known, and what it changes', () => {
    const design = parseDesign(
      {
        name: 'mine',
        extends: 'node-vfio',
        resume: 'nothing',
        zap: { pci: 'everything' },
        order: { release: ['withdraw'] },
      },
      DESIGNS,
    );
    const ours = DESIGNS.find(({ name }) => name === 'node-vfio')!;
    expect(design).toEqual({
      ...ours,
      name: 'mine',
      resume: 'nothing',
      zap: { ...ours.zap, pci: 'everything' },
      order: { ...ours.order, release: ['withdraw'] },
    });
  });

  test('a design that is written out is itself', () => {
    for (const design of DESIGNS) expect(parse(JSON.parse(JSON.stringify(design)))).toEqual(design);
  });

  test.each([
    [7, 'a design is a JSON object'],
    [{ name: 'mine' }, 'or "extends"'],
    [{ name: 'mine', extends: 'linux-2.4' }, '"extends" names no design: linux-2.4'],
    [{ extends: 'node-vfio', name: '' }, 'a design has a "name"'],
    [{ name: 'mine', extends: 'node-vfio', notifer: 'none' }, 'key of a design is "notifer"'],
    [{ name: 'mine', extends: 'node-vfio', notifier: 'always' }, '"notifier" is "always"; possible: none'],
    [{ name: 'mine', extends: 'node-vfio', zap: { usb: 'nothing' } }, 'kind in "zap" is "usb"'],
    [{ name: 'mine', extends: 'node-vfio', pgoff: { pci: 'page' } }, '"pgoff" of pci is "page"'],
    [
      { name: 'mine', extends: 'node-vfio', order: { revoke: ['clear', 'wait'] } },
      'step of revoke is "wait"',
    ],
    [{ name: 'mine', extends: 'node-vfio', order: { undo: [] } }, 'operation in "order" is "undo"'],
  ])('%j is refused: %s', (value, message) => {
    expect(() => parse(value)).toThrow(message);
  });
});

describe('parseProgram', () => {
  const good = {
    name: 'mine',
    devices: { gpu: pciDevice() },
    processes: ['vmm'],
    containers: ['nics'],
    setup: [{ op: 'open', process: 'vmm', device: 'gpu' }],
    threads: { driver: [{ any: [{ op: 'disable', device: 'gpu' }], times: 2 }] },
  };

  test('a program that is right stays as it is', () => {
    expect(parseProgram(good)).toEqual(good);
  });

  test.each([
    [null, 'a program is an object'],
    [{ ...good, name: undefined }, 'a program has a "name"'],
    [{ ...good, devices: { gpu: { kind: 'usb', regions: [] } } }, '"kind" of gpu is one of pci'],
    [{ ...good, devices: { gpu: { kind: 'pci', regions: [{}] } } }, 'each region of gpu has an "index"'],
    [{ ...good, processes: 'vmm' }, '"processes" is a list'],
    [{ ...good, processes: ['vmm', 'vmm'] }, '"processes" are names, each once'],
    [{ ...good, containers: [7] }, '"containers" are names'],
    [{ ...good, thread: {} }, 'a program has no "thread"; a program may have name'],
    [{ ...good, devices: { gpu: { kind: 'pci', regions: [], resetable: false } } }, 'gpu has no "resetable"'],
    [
      { ...good, devices: { gpu: { kind: 'pci', regions: [], resettable: 'no' } } },
      '"resettable" of gpu is true or',
    ],
    [
      { ...good, devices: { gpu: { kind: 'pci', regions: [{ index: 0, pages: '2' }] } } },
      '"pages" of region 0 of gpu is a number',
    ],
    [
      { ...good, devices: { gpu: { kind: 'pci', regions: [{ index: 0, dma: 'maybe' }] } } },
      '"dma" of region 0 of gpu is allow or deny',
    ],
    [{ ...good, iommu: { limit: 0 } }, '"limit" of "iommu" is 1 or more'],
    [{ ...good, iommu: { iovaRanges: 5 } }, '"iovaRanges" is a list'],
    [{ ...good, iommu: { iovaRanges: [{ start: 0, end: 5 }] } }, 'whole pages'],
    [{ ...good, setup: [{ op: 'boot' }] }, 'setup[0]: "op" is one of open'],
    [{ ...good, setup: [{ op: 'open', process: 'vmm' }] }, 'setup[0]: open needs "device"'],
    [{ ...good, setup: [{ op: 'reset', device: 'gpu', hard: true }] }, 'setup[0]: reset has no "hard"'],
    [{ ...good, setup: [{ op: 'read', vma: 'window', page: -1 }] }, '"page" is a number'],
    [{ ...good, threads: { driver: [{ any: [], times: 0 }] } }, 'threads.driver[0] has "times", 1 or more'],
  ])('%j is refused: %s', (value, message) => {
    expect(() => parseProgram(value)).toThrow(message);
  });
});
