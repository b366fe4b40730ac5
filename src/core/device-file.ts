/*
 * What a VMA can be a mapping of: a device's file, or anything else. R2 asks this first, as the RFC asked
 * whether `vma->vm_file->f_op == &vfio_device_fops`: a device file says which device it is, any other file
 * says nothing.
 */
import type { VfioDevice } from './device.ts';

/** The file of a VFIO device. All opens share it, as they share the inode and so the address space. */
export class DeviceFile {
  /** The present instance of the device: see `VfioDevice.takeOver`. */
  device: VfioDevice;

  constructor(device: VfioDevice) {
    this.device = device;
  }
}

/** Any file that is not ours: guest RAM, a library, a device of somebody else. */
export class ForeignFile {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}
