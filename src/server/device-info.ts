/*
 * DEVICE_GET_INFO: what kind of device this is and how many regions and interrupt indexes it has.
 */
import {
  ERRNO,
  VFIO_DEVICE_FLAGS_FSL_MC,
  VFIO_DEVICE_FLAGS_PCI,
  VFIO_DEVICE_FLAGS_PLATFORM,
  VFIO_DEVICE_FLAGS_RESET,
  vfio_user_device_info,
} from '../abi/index.ts';
import type { DeviceKind, VfioDevice } from '../core/index.ts';
import type { Message } from './message.ts';

/** An mdev says nothing of its own here: what it mediates is for its regions to tell. */
const KIND_FLAGS: Readonly<Record<DeviceKind, number>> = {
  pci: VFIO_DEVICE_FLAGS_PCI,
  platform: VFIO_DEVICE_FLAGS_PLATFORM,
  'fsl-mc': VFIO_DEVICE_FLAGS_FSL_MC,
  mdev: 0,
};

/** Answers DEVICE_GET_INFO. EINVAL: the request or its argsz is too short. */
export function getDeviceInfo(device: VfioDevice, message: Message): number {
  const { size, at } = vfio_user_device_info;
  if (message.bodyBytes < size) return ERRNO.EINVAL;
  if (message.view.getUint32(message.body + at.argsz, true) < size) return ERRNO.EINVAL;
  const body = new Uint8Array(size);
  vfio_user_device_info.encode(new DataView(body.buffer), 0, {
    argsz: size,
    flags: KIND_FLAGS[device.kind] | (device.resettable ? VFIO_DEVICE_FLAGS_RESET : 0),
    num_regions: device.regionCount,
    num_irqs: device.irqs.length,
  });
  message.reply(body);
  return 0;
}
