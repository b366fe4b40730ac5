/*
 * DEVICE_RESET. Writes in the background come first: what the client wrote before the reset must not show after it. They
 * get no DMA any more, because the client may be one that serves none while it waits for the reset.
 */
import { type MaybePromise, VfioError } from '../core/index.ts';
import type { Background } from './background.ts';
import { RESET_PATIENCE_MS } from './limits.ts';
import type { Message } from './message.ts';
import type { MessageMemory } from './remote-memory.ts';
import type { SessionContext } from './session-context.ts';

/** Answers DEVICE_RESET when the device is reset. EINVAL: it cannot be. */
export function resetDevice(
  context: SessionContext,
  background: Background,
  remote: MessageMemory,
  message: Message,
): MaybePromise<number> {
  const { device } = context;
  const idle = background.idle();
  if (idle !== null && device.resettable) return resetAfter(idle, context, remote, message);
  const done = device.reset();
  return done instanceof Promise ? done.then(() => acknowledge(message)) : acknowledge(message);
}

async function resetAfter(
  idle: Promise<void>,
  context: SessionContext,
  remote: MessageMemory,
  message: Message,
): Promise<number> {
  const { device } = context;
  remote.refuseAll('device is in reset');
  await atMost(idle, RESET_PATIENCE_MS);
  if (context.device !== device) throw new VfioError('ENODEV', 'the device was replaced before the reset');
  remote.refuseAll(null);
  if (remote.closed) throw new VfioError('ENOTCONN', 'the client left before the reset');
  await device.reset();
  return acknowledge(message);
}

/** A handler that never ends is a reason to reset the device, not to leave it. */
async function atMost(idle: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms).unref();
  });
  await Promise.race([idle, patience]);
  clearTimeout(timer);
}

function acknowledge(message: Message): number {
  message.acknowledge();
  return 0;
}
