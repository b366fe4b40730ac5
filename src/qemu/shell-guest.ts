/*
 * The guest that `vfio qemu` boots when it is told nothing else: Debian's kernel and a shell on the console, with a few
 * commands to look at PCI devices. All is in memory; `exit` switches it off.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findCache, KERNEL_SERIES } from './cache-folder.ts';
import { buildInitramfs } from './initramfs.ts';

/** Kernel, file system and kernel command line, for QEMU's -kernel, -initrd and -append. */
export interface ShellGuest {
  readonly kernel: string;
  /** Made anew for each guest. Call `remove` when QEMU has ended. */
  readonly initramfs: string;
  readonly append: string;
  remove(): void;
}

const LSPCI = `#!/bin/sh
# PCI devices by address, class, vendor and device, as lspci -n does; then where their BARs are.
for device in /sys/bus/pci/devices/*; do
  driver=$(readlink "$device/driver") && driver=" driver \${driver##*/}"
  read -r class < "$device/class"
  read -r vendor < "$device/vendor"
  read -r id < "$device/device"
  class=\${class#0x}
  echo "\${device##*/0000:} \${class%??}: \${vendor#0x}:\${id#0x}$driver"
  bar=0
  while [ $bar -lt 6 ] && read -r start end flags; do
    [ $((end)) -eq 0 ] || printf '        BAR%d at 0x%x, %d bytes\\n' $bar "$start" $((end - start + 1))
    bar=$((bar + 1))
  done < "$device/resource"
done
`;

const WAIT_INTERRUPT = `#!/bin/sh
# wait-interrupt SLOT: gives the device to uio_pci_generic, lets its INTx through and waits for one.
[ $# -eq 1 ] || { echo "usage: wait-interrupt 00:01.0 &" >&2; exit 2; }
device=/sys/bus/pci/devices/0000:$1
[ -e "$device" ] || { echo "there is no device $1; see lspci" >&2; exit 1; }
if [ ! -e "$device/driver" ]; then
  echo uio_pci_generic > "$device/driver_override"
  echo "0000:$1" > /sys/bus/pci/drivers_probe
fi
uio=$(ls "$device/uio" 2> /dev/null) || { echo "$1 has no interrupt pin, or another driver" >&2; exit 1; }
exec 3<> "/dev/$uio"
printf '\\001\\000\\000\\000' >&3
echo "$1: interrupt" $(dd bs=4 count=1 <&3 2> /dev/null | od -An -tu4)
`;

const DECODE = `#!/bin/sh
# decode SLOT on|off: whether the device answers at its BARs. Writes COMMAND in config space; bus mastering stays on.
case $2 in on) command='\\007' ;; off) command='\\004' ;; *) echo "usage: decode 00:01.0 on|off" >&2; exit 2 ;; esac
printf "$command" | dd of="/sys/bus/pci/devices/0000:$1/config" bs=1 seek=4 conv=notrunc 2> /dev/null
`;

/** Without a driver nobody switches a device on: here it is done as a driver would, and it may master the bus. */
const SCRIPT = `
for device in /sys/bus/pci/devices/*; do
  [ -e "$device/driver" ] && continue
  echo 1 > "$device/enable" && decode "\${device##*/0000:}" on
done 2> /dev/null
echo
echo "Linux $(uname -r)"
lspci
echo "Here: lspci, devmem ADDRESS 32 [VALUE], decode SLOT on|off, wait-interrupt SLOT &. exit switches the machine off."
setsid cttyhack sh
`;

/** The guest from the cache, or null when there is none; `vfio qemu --setup` makes one. */
export function shellGuest(): ShellGuest | null {
  const cache = findCache();
  const kernel = KERNEL_SERIES.map((series) => cache?.kernels.get(series)).find(
    (found) => found !== undefined,
  );
  if (cache === null || kernel === undefined) return null;
  const folder = mkdtempSync(join(tmpdir(), 'vfio-guest-'));
  const initramfs = join(folder, 'initramfs');
  const file = (text: string): Uint8Array => new TextEncoder().encode(text);
  writeFileSync(
    initramfs,
    buildInitramfs(cache, kernel, {
      modules: ['uio_pci_generic'],
      files: {
        'bin/lspci': file(LSPCI),
        'bin/decode': file(DECODE),
        'bin/wait-interrupt': file(WAIT_INTERRUPT),
      },
      script: SCRIPT,
    }),
  );
  return {
    kernel: kernel.image,
    initramfs,
    // On a busy host a kernel was seen to take its timer for broken, and to panic.
    append: 'console=ttyS0 quiet panic=-1 no_timer_check',
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
