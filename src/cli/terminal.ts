/**
 * What a stream can show: colours only on a terminal that wants them, progress only on a terminal.
 *
 * NO_COLOR (https://no-color.org) with any non-empty value, or TERM=dumb, turns colours off.
 */
import type { WriteStream } from 'node:tty';

/** Where text goes. `process.stdout` and `process.stderr` are such streams; tests hand in their own. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface Style {
  readonly colour: boolean;
  good(text: string): string;
  bad(text: string): string;
  strong(text: string): string;
  faint(text: string): string;
}

const RESET = '\u001b[0m';
const GREEN = '\u001b[32m';
const RED = '\u001b[31m';
const BOLD = '\u001b[1m';
const FAINT = '\u001b[2m';

/** The styles that `output` understands; on anything but a colour terminal they leave the text as it is. */
export function styleFor(output: Output, environment: NodeJS.ProcessEnv = process.env): Style {
  const wanted = (environment['NO_COLOR'] ?? '') === '' && environment['TERM'] !== 'dumb';
  const colour = wanted && output.isTTY === true;
  const wrap = (code: string) => (text: string) => (colour ? code + text + RESET : text);
  return { colour, good: wrap(GREEN), bad: wrap(RED), strong: wrap(BOLD), faint: wrap(FAINT) };
}

/** One line that is overwritten in place, on a terminal; silent elsewhere, where it would only fill a log. */
export class Progress {
  readonly #output: Output;
  #shown = false;

  constructor(output: Output | WriteStream) {
    this.#output = output;
  }

  show(text: string): void {
    if (this.#output.isTTY !== true) return;
    this.#output.write(`\r\u001b[K${text}`);
    this.#shown = true;
  }

  clear(): void {
    if (!this.#shown) return;
    this.#output.write('\r\u001b[K');
    this.#shown = false;
  }
}
