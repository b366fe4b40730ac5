/**
 * What `vfio qemu` tells. stdin and stdout are the guest's, so everything goes to stderr: for people only what they should
 * know while they look at a console, with --verbose all of it, with --json one object an event.
 */
import { type ServeEvent, type Teller, textTeller } from '../serve/events.ts';
import type { Output, Style } from '../terminal.ts';

export type QemuEvent =
  | {
      readonly event: 'qemu';
      readonly state: 'started';
      readonly pid: number;
      readonly version: string;
      readonly accelerator: string;
      /** Program and arguments. */
      readonly command: readonly string[];
    }
  | {
      readonly event: 'qemu';
      readonly state: 'ended';
      readonly ok: boolean;
      readonly code: number | null;
      readonly signal: string | null;
      readonly message: string;
    }
  /** A line that QEMU wrote to its stderr. Only with --json; else stderr is QEMU's too. */
  | { readonly event: 'qemu-output'; readonly line: string }
  /** Something worth knowing before QEMU starts. */
  | { readonly event: 'note'; readonly message: string };

export type GuestEvent = ServeEvent | QemuEvent;

export type GuestTeller = (event: GuestEvent) => void;

export function jsonGuestTeller(output: Output): GuestTeller {
  return (event) => output.write(`${JSON.stringify(event)}\n`);
}

/** Between the lines of a guest's console, only what went wrong is worth a line. */
export function textGuestTeller(output: Output, style: Style, verbose: boolean): GuestTeller {
  const tellServed: Teller = textTeller(output, style);
  return (event) => {
    switch (event.event) {
      case 'note':
        output.write(`vfio: ${event.message}\n`);
        break;
      case 'qemu':
        if (event.state === 'started') {
          if (verbose)
            output.write(`vfio: QEMU ${event.version} (${event.accelerator}) is process ${event.pid}\n`);
        } else if (verbose || !event.ok) {
          output.write(`vfio: ${event.ok ? event.message : style.bad(event.message)}\n`);
        }
        break;
      case 'qemu-output':
        output.write(`${event.line}\n`);
        break;
      case 'ready':
        if (event.pty !== null) {
          output.write(`vfio: ${event.device}: the other end of the port is ${event.pty}\n`);
        } else if (verbose) tellServed(event);
        break;
      case 'log':
      case 'dma-fault':
      case 'reload':
      case 'reload-refused':
      case 'reload-failed':
        tellServed(event);
        break;
      default:
        if (verbose) tellServed(event);
    }
  };
}
