import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { REAL_QEMU, WITH_REAL_QEMU } from '../../test/support/qemu.ts';
import { FLAGS, QemuArgumentError, readArguments, readList, valuesOf } from './arguments.ts';

describe('readArguments', () => {
  it('knows which options take the next word', () => {
    expect(readArguments(['-nographic', '-append', '-m 5', '--m', '2G', 'disk.img'])).toEqual([
      { name: 'nographic', value: null },
      { name: 'append', value: '-m 5' },
      { name: 'm', value: '2G' },
      { name: '', value: 'disk.img' },
    ]);
  });

  it('calls -M by its long name', () => {
    expect(valuesOf(readArguments(['-M', 'pc', '-machine', 'accel=tcg']), 'machine')).toEqual([
      'pc',
      'accel=tcg',
    ]);
  });

  it('refuses an option without its value', () => {
    expect(() => readArguments(['-S', '-m'])).toThrow(QemuArgumentError);
  });
});

describe('readList', () => {
  it('gives the first word its key, and the last of two values', () => {
    const list = readList('q35,accel=kvm,usb,accel=tcg', 'type');
    expect([...list]).toEqual([
      ['type', 'q35'],
      ['accel', 'tcg'],
      ['usb', 'on'],
    ]);
  });

  it('has no type where the first part is a property', () => {
    expect(readList('memory-backend=a', 'type').has('type')).toBe(false);
  });

  it('takes two commas as one of the value', () => {
    expect(readList('memory-backend-file,mem-path=/a,,b,id=r', 'qom-type').get('mem-path')).toBe('/a,b');
  });

  it('reads JSON, and says when it is none', () => {
    const list = readList('{"qom-type":"memory-backend-memfd","share":true}', 'qom-type');
    expect([list.get('qom-type'), list.get('share')]).toEqual(['memory-backend-memfd', 'on']);
    expect(() => readList('{qom-type:x}', 'qom-type')).toThrow('is no JSON');
  });
});

describe.skipIf(REAL_QEMU === null)(WITH_REAL_QEMU, () => {
  it('lists the options without a value that we know', () => {
    const help = spawnSync(REAL_QEMU!, ['-h'], { encoding: 'utf8' }).stdout;
    const alone = [...help.matchAll(/^--?([a-zA-Z0-9-]+)(?: {2,}\S.*)?$/gm)].map((match) => match[1]!);
    // "-dtb    file" has more than one space before its value, and "-M" only refers to "-machine".
    const flags = alone.filter((name) => name !== 'dtb' && name !== 'M');
    expect(flags.length).toBeGreaterThan(20);
    expect(flags.filter((name) => !FLAGS.has(name))).toEqual([]);
    // The first two stand in a line of their own kind; the other two belong to arm.
    const unseen = [...FLAGS].filter((name) => !flags.includes(name));
    expect(unseen.sort()).toEqual(['h', 'help', 'old-param', 'semihosting']);
  });
});
