/**
 * Tells the demo's steps as they happen: one line a step for people, one JSON object a step for programs.
 */
import type { Output, Progress, Style } from '../terminal.ts';
import { LINUX_TYPE1, type Type1Fact, type Type1Step } from './linux-type1.ts';

export interface Step {
  /** The rule that the step shows, `R1` to `R10`. */
  readonly rule: string;
  readonly step: string;
  readonly expected: string;
  readonly seen: string;
  /** Without it, a step is ok when `seen` is `expected`. */
  readonly ok?: boolean;
  /** The same step on Linux, where it was recorded. */
  readonly linux?: Type1Step;
}

export interface StoryOptions {
  readonly output: Output;
  readonly style: Style;
  /** One JSON object a line instead of text. */
  readonly json: boolean;
  /** Shows how far a long step is. */
  readonly progress?: Progress;
}

export class Story {
  readonly #options: StoryOptions;
  #told = 0;
  #failed = 0;

  constructor(options: StoryOptions) {
    this.#options = options;
  }

  get told(): number {
    return this.#told;
  }

  get failed(): number {
    return this.#failed;
  }

  /** A line between the steps that says what is about to happen; programs are not told. */
  chapter(text: string): void {
    if (this.#options.json) return;
    this.#options.output.write(`\n${this.#options.style.strong(text)}\n`);
  }

  /** How far the step under way is, from 0 to 1. */
  readonly progress: (part: number) => void = (part) => {
    this.#options.progress?.show(`     ${Math.floor(part * 100)} %`);
  };

  tell(step: Step): void {
    this.#options.progress?.clear();
    const ok = step.ok ?? step.seen === step.expected;
    this.#told += 1;
    if (!ok) this.#failed += 1;
    const linux = step.linux === undefined ? null : LINUX_TYPE1[step.linux];
    this.#options.output.write(
      this.#options.json ? jsonLine(step, ok, linux) : this.#textLines(step, ok, linux),
    );
  }

  #textLines(step: Step, ok: boolean, linux: Type1Fact | null): string {
    const { style } = this.#options;
    const mark = ok ? style.good('ok  ') : style.bad('FAIL');
    const { expected, seen } = step;
    const line = `${mark} ${step.rule.padEnd(3)} ${step.step}: expected ${expected}, seen ${seen}\n`;
    if (linux === null) return line;
    const records = linux.records.map((record) => record.name).join(', ');
    const sign = linux.sameAsOurs ? '=' : '!';
    return `${line}${style.faint(`       ${sign} Linux 7.3 type1, recorded: ${linux.says} [${records}]`)}\n`;
  }
}

function jsonLine(step: Step, ok: boolean, linux: Type1Fact | null): string {
  const { rule, expected, seen } = step;
  const line = { rule, step: step.step, expected, seen, ok };
  const beside = linux === null ? {} : { linuxType1: { says: linux.says, records: linux.records } };
  return `${JSON.stringify({ ...line, ...beside })}\n`;
}
