/**
 * The options that say how devices are made; `vfio serve` and `vfio qemu` have them both.
 */
import { type Command, InvalidArgumentError } from 'commander';
import type { Consent } from '../core/index.ts';
import type { DeviceOptions } from './serve/make-device.ts';
import { parseSize } from './size.ts';

export interface DeviceFlags {
  readonly size?: number;
  readonly dma?: Consent;
  readonly dmaMaskBits?: number;
  readonly ignoreRts?: boolean;
  readonly option?: Readonly<Record<string, string>>;
  readonly busyPollUs?: number;
  readonly watch?: boolean;
}

/** Adds the options to a command whose flags are then `DeviceFlags`. */
export function addDeviceOptions(command: Command): Command {
  return command
    .option('--size <size>', "ram: size of BAR2, '64G' for example", size)
    .option('--dma <consent>', 'ram: whether BAR2 is a DMA target, allow or deny', consent)
    .option('--dma-mask-bits <bits>', 'edu: address bits of the DMA engine', wholeNumber)
    .option('--ignore-rts', 'serial: give the guest bytes while it has RTS down, too')
    .option('--option <key=value>', 'for the class or factory of a module; repeatable', keyValue)
    .option('--watch', 'reload the device of a module when its file changes, while the guest runs')
    .option('--busy-poll-us <us>', 'after activity, look again for this long before sleeping', wholeNumber);
}

export function deviceOptions(flags: DeviceFlags): DeviceOptions {
  return {
    ...(flags.size === undefined ? {} : { sizeBytes: flags.size }),
    ...(flags.dma === undefined ? {} : { dma: flags.dma }),
    ...(flags.dmaMaskBits === undefined ? {} : { dmaMaskBits: flags.dmaMaskBits }),
    ...(flags.ignoreRts === undefined ? {} : { ignoreRts: flags.ignoreRts }),
    ...(flags.option === undefined ? {} : { custom: flags.option }),
  };
}

/** The same flags as words of a command line. */
export function deviceWords(flags: DeviceFlags): readonly string[] {
  const words: string[] = [];
  if (flags.size !== undefined) words.push(`--size=${flags.size}`);
  if (flags.dma !== undefined) words.push(`--dma=${flags.dma}`);
  if (flags.dmaMaskBits !== undefined) words.push(`--dma-mask-bits=${flags.dmaMaskBits}`);
  if (flags.ignoreRts === true) words.push('--ignore-rts');
  for (const [key, value] of Object.entries(flags.option ?? {})) words.push('--option', `${key}=${value}`);
  if (flags.busyPollUs !== undefined) words.push(`--busy-poll-us=${flags.busyPollUs}`);
  if (flags.watch === true) words.push('--watch');
  return words;
}

export function wholeNumber(text: string): number {
  if (/^[0-9]+$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Write a whole number.');
}

/** Size in bytes. */
export function size(text: string): number {
  const sizeBytes = parseSize(text);
  if (sizeBytes !== null) return sizeBytes;
  throw new InvalidArgumentError('Write a size such as 4096, 16M or 64G.');
}

function consent(text: string): Consent {
  if (text === 'allow' || text === 'deny') return text;
  throw new InvalidArgumentError('Write allow or deny.');
}

function keyValue(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError('Write key=value.');
  return { ...before, [text.slice(0, equals)]: text.slice(equals + 1) };
}
