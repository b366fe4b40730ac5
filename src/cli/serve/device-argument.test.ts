import { describe, expect, it } from 'vitest';
import { UsageError } from '../usage-error.ts';
import { isModulePath, parseDeviceArgument, resolveDevices } from './device-argument.ts';

const NOWHERE = { socketPath: null, fd: null };

describe('parseDeviceArgument', () => {
  it('reads a name, and a socket behind a colon', () => {
    expect(parseDeviceArgument('edu')).toEqual({ device: 'edu', name: 'edu', socketPath: null });
    expect(parseDeviceArgument('ram:/run/r.sock')).toEqual({
      device: 'ram',
      name: 'ram',
      socketPath: '/run/r.sock',
    });
  });

  it('names a module after its file', () => {
    const argument = parseDeviceArgument('./devices/my-nic.ts:/run/n.sock');
    expect(argument).toEqual({ device: './devices/my-nic.ts', name: 'my-nic', socketPath: '/run/n.sock' });
  });

  it.each([':/run/x.sock', 'edu:', `edu:/${'x'.repeat(107)}`])('refuses %s', (text) => {
    expect(() => parseDeviceArgument(text)).toThrow(UsageError);
  });

  it('takes the longest path that Linux takes', () => {
    const path = `/${'x'.repeat(106)}`;
    expect(parseDeviceArgument(`edu:${path}`).socketPath).toBe(path);
  });
});

describe('isModulePath', () => {
  it('tells modules from names', () => {
    expect(['./a.ts', '/a', 'a.mjs', 'a/b'].map(isModulePath)).toEqual([true, true, true, true]);
    expect(['edu', 'ram'].map(isModulePath)).toEqual([false, false]);
  });
});

describe('resolveDevices', () => {
  it('uses the common socket for a device that has none', () => {
    const [edu] = resolveDevices(['edu'], { socketPath: '/run/e.sock', fd: null });
    expect(edu!.socketPath).toBe('/run/e.sock');
  });

  it('serves one device over a descriptor', () => {
    const [edu] = resolveDevices(['edu'], { socketPath: null, fd: 3 });
    expect(edu!.socketPath).toBeNull();
  });

  it('numbers devices of one name', () => {
    const devices = resolveDevices(['ram:/a.sock', 'ram:/b.sock', 'edu:/c.sock'], NOWHERE);
    expect(devices.map((device) => device.name)).toEqual(['ram', 'ram-2', 'edu']);
  });

  it.each([
    ['a device without a socket', ['edu'], NOWHERE],
    ['a common socket for two', ['edu', 'ram:/r.sock'], { socketPath: '/a.sock', fd: null }],
    ['a descriptor for two', ['edu:/e.sock', 'ram:/r.sock'], { socketPath: null, fd: 3 }],
    ['a descriptor and a socket', ['edu'], { socketPath: '/a.sock', fd: 3 }],
    ['a descriptor and a socket of its own', ['edu:/a.sock'], { socketPath: null, fd: 3 }],
    ['one socket twice', ['edu:/a.sock', 'ram:/a.sock'], NOWHERE],
  ])('refuses %s and says what to write', (_what, texts, common) => {
    try {
      resolveDevices(texts, common);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      expect((error as UsageError).nextStep).not.toBe('');
    }
  });
});
