import { describe, expect, it } from 'vitest';
import { bootsSomething, chosenAccelerator, commandLine, type QemuStart } from './command-line.ts';

const GUEST = { kernel: '/c/vmlinuz', initramfs: '/c/initramfs', append: 'console=ttyS0' };
const MEMORY = ['-m', '1024M', '-object', 'memory-backend-memfd,id=mem,size=1024M,share=on'];

function start(change: Partial<QemuStart> = {}): readonly string[] {
  return commandLine({
    qemu: '/bin/qemu',
    sockets: [],
    memoryBytes: null,
    machine: 'q35',
    accelerator: 'tcg',
    guest: null,
    extra: [],
    ...change,
  });
}

describe('commandLine', () => {
  it('has shared memory, an accelerator, and one -device a socket, in order', () => {
    expect(start({ sockets: ['/run/edu.sock', '/run/a"b.sock'] })).toEqual([
      '/bin/qemu',
      '-machine',
      'q35,memory-backend=mem',
      '-accel',
      'tcg',
      ...MEMORY,
      '-device',
      '{"driver":"vfio-user-pci","socket":{"path":"/run/edu.sock","type":"unix"}}',
      '-device',
      '{"driver":"vfio-user-pci","socket":{"path":"/run/a\\"b.sock","type":"unix"}}',
    ]);
  });

  it.each([
    ['-accel tcg,thread=single', 'q35,memory-backend=mem'],
    ['-enable-kvm', 'q35,memory-backend=mem'],
    ['-machine accel=tcg', 'q35,memory-backend=mem'],
    ['-M pc,accel=tcg', 'memory-backend=mem'],
  ])('lets %s win', (extra, machine) => {
    const words = extra.split(' ');
    expect(start({ accelerator: 'kvm', extra: words })).toEqual([
      '/bin/qemu',
      '-machine',
      machine,
      ...MEMORY,
      ...words,
    ]);
  });

  it('leaves the machine to QEMU where it has none that we know', () => {
    expect(start({ machine: null }).slice(1, 3)).toEqual(['-machine', 'memory-backend=mem']);
  });

  it('adds nothing about memory to a shared backend of your own', () => {
    const extra = ['-machine', 'pc,memory-backend=r', '-object', 'memory-backend-memfd,id=r,size=1G'];
    expect(start({ extra })).toEqual(['/bin/qemu', '-accel', 'tcg', ...extra]);
  });

  it('refuses to let QEMU go its own ways', () => {
    expect(() => start({ extra: ['-daemonize'] })).toThrow('outlives');
  });

  const boot = ['-kernel', '/c/vmlinuz', '-initrd', '/c/initramfs', '-append', 'console=ttyS0'];

  it('boots the guest to a shell on the terminal when the arguments boot nothing', () => {
    const console = ['-nodefaults', '-display', 'none', '-serial', 'mon:stdio'];
    expect(start({ guest: GUEST }).slice(-12)).toEqual([...boot, ...console, '-no-reboot']);
  });

  it.each(['-display none', '-serial stdio', '-nographic', '-qmp stdio'])(
    'leaves the console to %s',
    (extra) => {
      const words = start({ guest: GUEST, extra: extra.split(' ') });
      expect(words.slice(-extra.split(' ').length - 7)).toEqual([...boot, '-no-reboot', ...extra.split(' ')]);
    },
  );

  it.each(['-kernel k', '-drive file=a', '-hda a', '-cdrom a', 'disk.img', '-boot n', '-bios b'])(
    'boots what %s says and nothing else',
    (extra) => {
      expect(bootsSomething(extra.split(' '))).toBe(true);
      expect(start({ guest: GUEST, extra: extra.split(' ') })).not.toContain('/c/vmlinuz');
    },
  );
});

describe('chosenAccelerator', () => {
  it.each([
    ['-accel kvm', 'kvm'],
    ['-accel accel=tcg', 'tcg'],
    ['-enable-kvm', 'kvm'],
    ['-machine q35,accel=kvm:tcg', 'kvm:tcg'],
    ['-nographic', null],
    ['-append -accel', null],
  ])('%s', (extra, name) => {
    expect(chosenAccelerator(extra.split(' '))).toBe(name);
  });
});
