/*
 * Does what docs/tutorial.md says, block by block: writes its files, runs its commands, types into its guests, and
 * compares what they answer. A block is told by the comment before it: file NAME, host, guest, events.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { root } from '../e2e/support.ts';
import { Conversation } from './support/conversation.ts';
import { Project } from './support/project.ts';

const BLOCK = /<!-- (\w+)(?:: (\S+))? -->\n```\w+\n([\s\S]*?)```/g;
const PROMPT = '~ # ';

interface Block {
  readonly kind: string;
  readonly name: string | undefined;
  readonly text: string;
}

function blocksOf(page: string): Block[] {
  return [...page.matchAll(BLOCK)].map(([, kind, name, text]) => ({ kind: kind!, name, text: text! }));
}

/** The commands of a guest's block, each with what it prints. */
function session(text: string): { readonly command: string; readonly output: string[] }[] {
  const parts = text.split(PROMPT).slice(1);
  return parts.map((part) => {
    const [command, ...output] = part.trimEnd().split('\n');
    return { command: command!, output };
  });
}

let project: Project;
let conversation: Conversation | null = null;

beforeEach(() => {
  project = new Project();
});

afterEach(async () => {
  await conversation?.kill();
  project.remove();
});

function npx(words: readonly string[]): [string, string[]] {
  const [program, ...args] = words;
  const file = program === 'vfio' ? 'dist/cli/main.js' : 'node_modules/vitest/vitest.mjs';
  return [process.execPath, [join(root, file), ...args]];
}

async function onHost(text: string): Promise<void> {
  const words = text.trim().split(/\s+/);
  expect(words.shift()).toBe('npx');
  const [program, args] = npx(words);
  if (words[0] !== 'vfio') {
    execFileSync(program, args, { cwd: project.folder, encoding: 'utf8' });
    return;
  }
  conversation = new Conversation(spawn(program, args, { cwd: project.folder }) as ChildProcess);
  await conversation.until(PROMPT);
}

async function inGuest(text: string): Promise<void> {
  for (const { command, output } of session(text)) {
    if (command === 'exit') {
      conversation!.type('exit');
      expect(await conversation!.ended).toBe(0);
      conversation = null;
      return;
    }
    expect([command, ...(await conversation!.answer(command, PROMPT))]).toEqual([command, ...output]);
  }
}

test('the tutorial does what it says', async () => {
  const blocks = blocksOf(readFileSync(join(root, 'docs/tutorial.md'), 'utf8'));
  expect(new Set(blocks.map(({ kind }) => kind))).toEqual(new Set(['file', 'host', 'guest', 'events']));
  for (const { kind, name, text } of blocks) {
    if (kind === 'file') project.write(name!, text);
    else if (kind === 'host') await onHost(text);
    else if (kind === 'guest') await inGuest(text);
    else await conversation!.hears(text.trim());
  }
});

test('canary: a page whose guest answers something else is seen', async () => {
  project.write('x.ts', "import { Edu } from 'vfio/devices';\nexport default () => new Edu();\n");
  await onHost('npx vfio qemu ./x.ts');
  await expect(inGuest('~ # echo yes\nno\n')).rejects.toThrow(/no/);
});
