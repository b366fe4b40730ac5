/*
 * The documents show what commands really print: each fenced block that follows `<!-- output: vfio ... -->` is that command's output.
 * `UPDATE_README=1 npx vitest run test/e2e/documents.test.ts` writes them.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { root, vfio } from './support.ts';

const OUTPUT = /<!-- output: vfio (.+) -->\n```\n[\s\S]*?```/g;

const pages = ['README.md', ...readdirSync(`${root}docs`).map((name) => `docs/${name}`)]
  .filter((path) => path.endsWith('.md'))
  .filter((path) => OUTPUT.test(readFileSync(root + path, 'utf8')));

function withOutputs(page: string): string {
  return page.replace(OUTPUT, (_, command: string) => {
    const { stdout, stderr } = vfio(command.split(' '));
    expect(stderr).toBe('');
    return `<!-- output: vfio ${command} -->\n\`\`\`\n${stdout}\`\`\``;
  });
}

test('the rules are among the pages that show output', () => {
  expect(pages).toContain('docs/rules.md');
});

test.each(pages)('%s shows what the commands print', { timeout: 120_000 }, (path) => {
  const page = readFileSync(root + path, 'utf8');
  if (process.env['UPDATE_README'] === '1') writeFileSync(root + path, withOutputs(page));
  else expect(withOutputs(page)).toBe(page);
});

test('canary: a page that shows something else is seen', () => {
  const stale = '<!-- output: vfio --version -->\n```\n0.0.0\n```';
  expect(withOutputs(stale)).not.toBe(stale);
});
