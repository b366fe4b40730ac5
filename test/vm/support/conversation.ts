/*
 * A command that holds a conversation on stdin and stdout, as a shell in a guest does.
 */
import type { ChildProcess } from 'node:child_process';

const TIMEOUT_MS = 90_000;
/** What a shell sends to ask how wide the terminal is, and other sequences that are no text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they begin with
const CONTROL = /\u001b(\[[0-9;?]*[A-Za-z]|c)|\r/g;

export class Conversation {
  /** Exit code, once the command has ended. */
  readonly ended: Promise<number | null>;
  readonly #child: ChildProcess;
  #output = '';
  #errors = '';
  #over = false;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.on('data', (text) => {
      // The whole of it: a sequence may come in two pieces.
      this.#output = (this.#output + text).replace(CONTROL, '');
    });
    child.stderr!.on('data', (text) => {
      this.#errors += text;
    });
    child.stdin!.on('error', () => {});
    this.ended = new Promise((resolve) => {
      child.once('close', (code) => {
        this.#over = true;
        resolve(code);
      });
    });
  }

  type(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** What stands before `text` in the output, once it is there. */
  async until(text: string): Promise<string> {
    await this.#wait(() => this.#output.includes(text), `'${text}' on stdout`);
    const at = this.#output.indexOf(text);
    const before = this.#output.slice(0, at);
    this.#output = this.#output.slice(at + text.length);
    return before;
  }

  /** Types a command, and returns the lines between its echo and the next prompt. */
  async answer(command: string, prompt: string): Promise<string[]> {
    this.type(command);
    await this.until(`${command}\n`);
    // What a command in the background prints may come after the prompt: a second prompt makes sure of it.
    let text = await this.until(prompt);
    await new Promise((resolve) => setTimeout(resolve, 300));
    text += this.#output;
    this.#output = '';
    return text.split('\n').filter((line) => line !== '' && line !== prompt);
  }

  /** Waits until the command has written `text` to stderr. */
  async hears(text: string): Promise<void> {
    await this.#wait(() => this.#errors.includes(text), `'${text}' on stderr`);
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.ended;
  }

  async #wait(holds: () => boolean, what: string): Promise<void> {
    const deadlineMs = performance.now() + TIMEOUT_MS;
    while (!holds()) {
      if (this.#over || performance.now() > deadlineMs) {
        throw new Error(
          `no ${what}; stdout: ${this.#output.slice(-2000)}\nstderr: ${this.#errors.slice(-2000)}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
