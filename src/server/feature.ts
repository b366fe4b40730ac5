/*
 * DEVICE_FEATURE: which optional features the device has. None so far, so a well-formed request is refused exactly
 * as a malformed one, with EINVAL: that is what libvfio-user answers, and QEMU takes it for "no such feature".
 */
import {
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_MASK,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  vfio_device_feature,
} from '../abi/index.ts';
import { VfioError } from '../core/index.ts';
import type { Message } from './message.ts';

const METHODS = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET;
const KNOWN = VFIO_DEVICE_FEATURE_MASK | METHODS | VFIO_DEVICE_FEATURE_PROBE;

/**
 * Judges DEVICE_FEATURE. Always EINVAL; the message says whether the request is malformed or the feature is missing. A
 * probe without a method names nothing that could be missing, and is malformed too.
 */
export function deviceFeature(message: Message): never {
  const { size, at } = vfio_device_feature;
  if (message.bodyBytes < size) throw malformed(`its payload has ${message.bodyBytes} bytes`);
  const argsz = message.view.getUint32(message.body + at.argsz, true);
  const flags = message.view.getUint32(message.body + at.flags, true);
  if (argsz < size) throw malformed(`argsz ${argsz} is less than ${size}`);
  if ((flags & ~KNOWN) !== 0) throw malformed(`flags 0x${flags.toString(16)} are not known`);
  const methods = flags & METHODS;
  const probe = (flags & VFIO_DEVICE_FEATURE_PROBE) !== 0;
  if (methods === 0 || (methods === METHODS && !probe)) {
    throw malformed(`flags 0x${flags.toString(16)} need GET or SET, both only with PROBE`);
  }
  throw new VfioError(
    'EINVAL',
    `DEVICE_FEATURE: feature ${flags & VFIO_DEVICE_FEATURE_MASK} is not supported`,
  );
}

function malformed(what: string): VfioError {
  return new VfioError('EINVAL', `DEVICE_FEATURE: ${what}`);
}
