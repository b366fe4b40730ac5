/*
 * DEVICE_GET_IRQ_INFO and DEVICE_SET_IRQS.
 */
import { ERRNO, vfio_irq_info, vfio_irq_set } from '../abi/index.ts';
import { decodeIrqSetFlags, setIrqs, type VfioDevice, VfioError } from '../core/index.ts';
import type { Share } from '../memory/index.ts';
import { EventfdTrigger } from '../sys/index.ts';
import type { SysLayer } from '../sys/sys-layer.ts';
import type { Message } from './message.ts';

/** Answers DEVICE_GET_IRQ_INFO. EINVAL: too short, or no such index. */
export function getIrqInfo(device: VfioDevice, message: Message): number {
  const { size, at } = vfio_irq_info;
  if (message.bodyBytes < size) return ERRNO.EINVAL;
  const irq = device.irqs[message.view.getUint32(message.body + at.index, true)];
  if (message.view.getUint32(message.body + at.argsz, true) < size || irq === undefined) return ERRNO.EINVAL;
  const body = new Uint8Array(size);
  const { index, count, flags } = irq;
  vfio_irq_info.encode(new DataView(body.buffer), 0, { argsz: size, flags, index, count });
  message.reply(body);
  return 0;
}

/**
 * Carries out DEVICE_SET_IRQS. EINVAL: malformed, an fd that is no eventfd, or what `setIrqs` of the core refuses
 * (ENOTTY there for masking what cannot be masked). ENOSPC: more eventfds than the session's share of fds. Fds are closed
 * when it is refused.
 */
export function setDeviceIrqs(sys: SysLayer, device: VfioDevice, share: Share, message: Message): number {
  const { size } = vfio_irq_set;
  if (message.bodyBytes < size) return ERRNO.EINVAL;
  const { argsz, flags, index, start, count } = vfio_irq_set.decode(message.view, message.body);
  if (argsz < size) throw new VfioError('EINVAL', `SET_IRQS: argsz ${argsz} is less than ${size}`);
  const { data, action } = decodeIrqSetFlags(flags);
  const boolBytes = message.bodyBytes - size;
  if (data !== 'bool' && boolBytes > 0) {
    throw new VfioError('EINVAL', `SET_IRQS: ${boolBytes} bytes of data without DATA_BOOL`);
  }
  const bools = message.bytes.slice(message.body + size, message.at + message.size);
  const triggers = adopt(sys, share, message.takeFds());
  setIrqs(device, { index, start, count, data, action, triggers, ...(data === 'bool' ? { bools } : {}) });
  message.acknowledge();
  return 0;
}

/** All or none: a message with one wrong fd wires nothing. */
function adopt(sys: SysLayer, share: Share, fds: readonly number[]): EventfdTrigger[] {
  const triggers: EventfdTrigger[] = [];
  try {
    for (const fd of fds) triggers.push(trigger(sys, share, fd));
  } catch (error) {
    for (const trigger of triggers) trigger.close();
    for (const fd of fds.slice(triggers.length)) sys.discard(fd);
    throw error;
  }
  return triggers;
}

function trigger(sys: SysLayer, share: Share, fd: number): EventfdTrigger {
  if (!share.take()) {
    throw new VfioError('ENOSPC', `SET_IRQS: the session holds ${share.held} fds; raise \`ulimit -n\``);
  }
  try {
    return new EventfdTrigger(sys, fd, () => share.give());
  } catch (error) {
    share.give();
    throw error;
  }
}
