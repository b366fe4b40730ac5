/*
 * Whether KVM runs a guest here. That /dev/kvm opens is not enough on x86: a kernel without the processor's
 * virtualization can offer it too, and then interprets the guest until it meets an instruction that it does not know.
 */
import { accessSync, constants, readFileSync } from 'node:fs';

/** null: KVM can be used. Else the reason why not, and what helps. */
export interface KvmObstacle {
  readonly reason: string;
  readonly nextStep: string;
}

/** What `kvmObstacle` looks at. */
export interface KvmFacts {
  /** '' if /dev/kvm can be opened for reading and writing, else the errno's name. */
  readonly accessError: string;
  /** /proc/cpuinfo. */
  readonly cpuInfo: string;
  /** process.arch. */
  readonly architecture: string;
}

export function kvmObstacle({ accessError, cpuInfo, architecture }: KvmFacts): KvmObstacle | null {
  if (accessError === 'ENOENT') {
    return {
      reason: 'there is no /dev/kvm',
      nextStep: 'Load kvm_intel or kvm_amd, or allow nested virtualization if this is a guest itself',
    };
  }
  if (accessError !== '') {
    return {
      reason: `/dev/kvm cannot be opened (${accessError})`,
      nextStep: 'Add the user to the group kvm, then log in again',
    };
  }
  const isX86 = architecture === 'x64' || architecture === 'ia32';
  if (isX86 && !/^flags\s*:.*\b(vmx|svm)\b/m.test(cpuInfo)) {
    return {
      reason: '/dev/kvm is there, but this processor offers neither vmx nor svm',
      nextStep:
        'Switch virtualization on in the firmware, or allow nested virtualization if this is a guest itself',
    };
  }
  return null;
}

/** What this machine says. */
export function readKvmFacts(): KvmFacts {
  return {
    accessError: accessError('/dev/kvm'),
    cpuInfo: readOr('/proc/cpuinfo', ''),
    architecture: process.arch,
  };
}

function accessError(path: string): string {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return '';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EIO';
  }
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
