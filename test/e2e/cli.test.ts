/*
 * The command line as a whole: help, exit codes, messages, colours.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { inFolder, onTerminal, vfio } from './support.ts';

const ESCAPE = '\u001b[';
const GREEN = `${ESCAPE}32m`;

describe('help', () => {
  test.each([[], ['serve'], ['qemu'], ['inspect'], ['demo'], ['doctor'], ['audit']])(
    '%s --help shows examples and exit codes',
    (...words) => {
      const { code, stdout, stderr } = vfio([...words, '--help']);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toContain(`Usage: ${['vfio', ...words].join(' ')} `);
      expect(stdout).toContain('Examples:\n  vfio ');
      expect(stdout).toContain('Exit codes: 0');
    },
  );

  test('--version is the package version', () => {
    expect(vfio(['--version']).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('wrong command lines end with exit code 2 and the next step', () => {
  test.each<[string, string[], string]>([
    ['no command', [], 'Usage:'],
    ['an unknown command', ['explode'], 'unknown command'],
    ['an unknown option', ['demo', '--fast'], '--help'],
    ['serve without a device', ['serve'], 'missing required argument'],
    ['serve without a socket', ['serve', 'edu'], 'Add --socket-path=/tmp/edu.sock'],
    ['an unknown device', ['serve', 'gpu:/tmp/x.sock'], 'There are edu, ram, serial;'],
    ['a size that is none', ['serve', 'ram:/tmp/x.sock', '--size=big'], 'Write a size'],
    ['a size that ram cannot have', ['serve', 'ram:/tmp/x.sock', '--size=3M'], 'power of two'],
    ['consent that is none', ['serve', 'ram:/tmp/x.sock', '--dma=perhaps'], 'Write allow or deny'],
    ['a mask that edu cannot have', ['serve', 'edu:/tmp/x.sock', '--dma-mask-bits=99'], '12 to 64 bits'],
    ['an option without a value', ['serve', 'edu:/tmp/x.sock', '--option', 'serial'], 'Write key=value'],
    ['a module that is missing', ['serve', './none.ts:/tmp/x.sock'], 'Check the path'],
    [
      'control of a worker',
      ['serve', 'edu:/tmp/x.sock', '--worker', '--control'],
      'Leave --worker or --control',
    ],
    ['--pty for no serial port', ['serve', 'edu:/tmp/x.sock', '--pty'], 'Serve serial, or leave --pty out'],
    ['a rule that is none', ['audit', '.', '--rule', 'pgoff'], 'There are pgoff-overwritten,'],
    ['--pty=', ['serve', 'serial:/tmp/x.sock', '--pty='], 'Write --pty, or --pty=PATH'],
    [
      '--pty in another thread',
      ['serve', 'serial:/tmp/x.sock', '--pty', '--worker'],
      'Leave --worker or --pty out',
    ],
    [
      'one link for two terminals',
      ['serve', 'serial:/tmp/x.sock', 'serial:/tmp/y.sock', '--pty=/tmp/tty'],
      'Write --pty without a path',
    ],
    ['a socket path that is too long', ['serve', `edu:/${'x'.repeat(200)}`], 'Use a shorter path'],
    ['qemu without a device', ['qemu', '--', '-nographic'], 'Write vfio qemu edu'],
    ['memory that would be private', ['qemu', 'edu', '--', '-mem-path', '/x'], 'share=on'],
    ['memory of two sizes', ['qemu', 'edu', '--memory=1G', '--', '-m', '2G'], 'Leave one out'],
    ['memory that is no size', ['qemu', 'edu', '--memory=much'], 'Write a size'],
    ['a QEMU that goes away', ['qemu', 'edu', '--', '-daemonize'], 'Leave it out'],
    ['an argument for QEMU without its value', ['qemu', 'edu', '--', '-kernel'], 'Write one behind it'],
    ['inspect without an address', ['inspect'], 'missing required argument'],
    ['a file that is missing', ['demo', '--file=/nonexistent'], 'Give --file another path'],
    ['a file that is a folder', ['demo', '--file=/tmp'], 'Give --file another path'],
    ['an empty file', ['demo', '--file=/dev/null'], 'Give --file another path'],
  ])('%s', (_what, args, nextStep) => {
    const { code, stdout, stderr } = vfio(args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(nextStep);
    expect(stderr).not.toContain('    at ');
  });
});

describe('failures end with exit code 1 and say why', () => {
  test('a device that is not there', () => {
    const { code, stderr } = vfio(['inspect', '/nonexistent/edu.sock']);
    expect(code).toBe(1);
    expect(stderr).toContain('ENOENT');
    expect(stderr).not.toContain('    at ');
  });

  test('an address that is none', () => {
    const { code, stderr } = vfio(['inspect', 'https://example.org']);
    expect(code).toBe(1);
    expect(stderr).toContain('EINVAL');
  });

  test('a socket that cannot be made', () => {
    const { code, stderr } = vfio(['serve', 'edu:/nonexistent/edu.sock']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^vfio: ENOENT: .*make it, or use another path\n$/);
  });

  test('a descriptor that is not open', () => {
    const { code, stderr } = vfio(['serve', 'edu', '--fd=77']);
    expect(code).toBe(1);
    expect(stderr).toContain('fd 77');
    expect(stderr).toContain('EBADF');
  });

  test('a module that does not load', async () => {
    await inFolder(async (folder) => {
      const module = join(folder, 'broken.mjs');
      writeFileSync(module, 'throw new Error("no luck");');
      const { code, stderr } = vfio(['serve', module, `--socket-path=${join(folder, 'x.sock')}`]);
      expect(code).toBe(2);
      expect(stderr).toContain('no luck');
    });
  });

  test('a module whose export is no device', async () => {
    await inFolder(async (folder) => {
      const module = join(folder, 'plain.mjs');
      writeFileSync(module, 'export default class { answer = 42; }');
      const { code, stderr } = vfio(['serve', module, `--socket-path=${join(folder, 'x.sock')}`]);
      expect(code).toBe(2);
      expect(stderr).toContain('extends PciDevice');
    });
  });
});

describe('colours', () => {
  test('are for terminals, and not where NO_COLOR is set', () => {
    expect(onTerminal(['demo'])).toContain(GREEN);
    expect(onTerminal(['demo'], { NO_COLOR: '1' })).not.toContain(GREEN);
    expect(vfio(['demo']).stdout).not.toContain(ESCAPE);
  });
});
