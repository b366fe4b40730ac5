/**
 * What `vfio serve` tells the outside: one line an event, for people, or with --json one JSON object for
 * programs.
 */
import type { DeviceKind } from '../../core/index.ts';
import { deviceValue, shellLine } from '../../qemu/index.ts';
import type { Output, Style } from '../terminal.ts';

export type ServeEvent =
  /** The device can be attached to. Told once a device; nothing else comes before it. */
  | {
      readonly event: 'ready';
      readonly device: string;
      /** What clients take it for. */
      readonly kind: DeviceKind;
      /** Path of the socket; null when served over an inherited descriptor. */
      readonly socket: string | null;
      /** QEMU's option that attaches the device; null without a path, or if it is not PCI. */
      readonly qemu: string | null;
      /** Path of the terminal that is the port's other end; null without one. */
      readonly pty: string | null;
      /** Symbolic link to the terminal; null without one. */
      readonly ptyLink: string | null;
      readonly pid: number;
    }
  | { readonly event: 'session'; readonly device: string; readonly state: 'attached' | 'detached' }
  /** A transfer of the device reached no memory; `reason` says why. */
  | { readonly event: 'dma-fault'; readonly device: string; readonly iova: number; readonly reason: string }
  /** Memory of the device went away (`suspend`), came back (`resume`), or is gone for good (`release`). */
  | {
      readonly event: 'suspend' | 'resume' | 'release';
      readonly device: string;
      readonly reason: string;
      readonly start: number;
      readonly length: number;
    }
  /** With --watch: a file of the module changed, and a new device is being made. One of the next three follows. */
  | { readonly event: 'change'; readonly device: string; readonly file: string }
  /** The new device is in place. The guest sees a reset, or its state was carried over. `ms`: loading included. */
  | {
      readonly event: 'reload';
      readonly device: string;
      readonly ms: number;
      readonly state: 'reset' | 'carried';
    }
  /** The guest would notice that it is another device: one phrase for each difference. The one before goes on. */
  | {
      readonly event: 'reload-refused';
      readonly device: string;
      readonly differences: readonly string[];
      readonly message: string;
    }
  /** No device could be made, or its state not be carried over. The one before goes on. */
  | { readonly event: 'reload-failed'; readonly device: string; readonly message: string }
  /** Answer to a line on stdin, with --control. */
  | { readonly event: 'control'; readonly command: string; readonly ok: boolean; readonly message: string }
  | { readonly event: 'log'; readonly device: string; readonly level: string; readonly message: string }
  | { readonly event: 'stopped'; readonly device: string };

/** Tells one event. */
export type Teller = (event: ServeEvent) => void;

export function jsonTeller(output: Output): Teller {
  return (event) => output.write(`${JSON.stringify(event)}\n`);
}

export function textTeller(output: Output, style: Style): Teller {
  return (event) => output.write(`${text(event, style)}\n`);
}

function text(event: ServeEvent, style: Style): string {
  switch (event.event) {
    case 'ready':
      return readyText(event, style);
    case 'session':
      return `${event.device}: client ${event.state}`;
    case 'dma-fault':
      return `${event.device}: ${style.bad('DMA fault')} at 0x${event.iova.toString(16)}: ${event.reason}`;
    case 'suspend':
      return `${event.device}: memory cannot be reached: ${event.reason}`;
    case 'resume':
      return `${event.device}: memory can be reached again (over: ${event.reason})`;
    case 'release':
      return `${event.device}: memory is gone: ${event.reason}`;
    case 'change':
      return `${event.device}: ${event.file} changed`;
    case 'reload':
      return `${event.device}: ${style.good('reloaded')} in ${event.ms} ms: ${
        event.state === 'reset' ? 'the guest sees a reset' : 'its state was carried over'
      }`;
    case 'reload-refused':
    case 'reload-failed':
      return `${event.device}: ${style.bad('not reloaded')}: ${event.message}`;
    case 'control':
      return `${event.ok ? style.good('ok') : style.bad('refused')}: ${event.command}: ${event.message}`;
    case 'log':
      return `${event.device}: ${event.message}`;
    case 'stopped':
      return `${event.device}: stopped`;
  }
}

function readyText(event: Extract<ServeEvent, { event: 'ready' }>, style: Style): string {
  const terminal = event.pty === null ? '' : `\n  terminal: ${terminalText(event.pty, event.ptyLink)}`;
  if (event.socket === null) return `${event.device}: ready on the inherited descriptor${terminal}`;
  const ready = `${style.strong(event.device)}: ready on ${event.socket}`;
  const use =
    event.qemu === null
      ? `${event.kind} device, for openDevice and other vfio-user clients; QEMU attaches PCI only`
      : `QEMU (10.1 or newer): ${event.qemu}`;
  return `${ready}\n  ${use}${terminal}`;
}

function terminalText(pty: string, link: string | null): string {
  return link === null ? pty : `${link} (${pty})`;
}

/** QEMU's option for a socket, as its own documentation writes it. */
export function qemuOption(socketPath: string): string {
  return shellLine(['-device', deviceValue(socketPath)]);
}
