/*
 * DEVICE_GET_INFO: what kind of device this is and how many regions and interrupt indexes it has.
 */
import { ERRNO, vfio_user_device_info } from '../abi/index.ts';
import type { VfioDevice } from '../core/index.ts';
import type { Message } from './message.ts';

/** Answers DEVICE_GET_INFO. EINVAL: the request or its argsz is too short. */
export function getDeviceInfo(device: VfioDevice, message: Message): number {
  const { size, at } = vfio_user_device_info;
  if (message.bodyBytes < size) return ERRNO.EINVAL;
  if (message.view.getUint32(message.body + at.argsz, true) < size) return ERRNO.EINVAL;
  const body = new Uint8Array(size);
  vfio_user_device_info.encode(new DataView(body.buffer), 0, {
    argsz: size,
    flags: device.flags,
    num_regions: device.regionCount,
    num_irqs: device.irqs.length,
  });
  message.reply(body);
  return 0;
}
