/*
 * A device that is asked for cannot be made: a mistake of whoever asks, in a module or in options.
 */
import { VfioError } from '../core/index.ts';

/** An EINVAL of its own, so that a command can tell it from a failure. */
export class DeviceSetupError extends VfioError {
  override readonly name: string = 'DeviceSetupError';

  /** @param message one sentence says what is wrong, the next what to do. */
  constructor(message: string, options?: ErrorOptions) {
    super('EINVAL', message, options);
  }
}
