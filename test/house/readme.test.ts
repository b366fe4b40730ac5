/*
 * The documents show the examples as they are: each fenced block that follows `<!-- example: PATH -->` is that file.
 * `UPDATE_README=1 npx vitest run test/house/readme.test.ts` writes them.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = /<!-- example: (\S+) -->\n```ts\n[\s\S]*?```/g;

const pages = ['README.md', ...readdirSync(`${root}docs`).map((name) => `docs/${name}`)].filter((name) =>
  name.endsWith('.md'),
);

function withExamples(page: string): string {
  return page.replace(EXAMPLE, (_, path: string) => {
    return `<!-- example: ${path} -->\n\`\`\`ts\n${readFileSync(root + path, 'utf8')}\`\`\``;
  });
}

test.each(pages)('%s shows the examples as they are', (name) => {
  const page = readFileSync(root + name, 'utf8');
  if (process.env['UPDATE_README'] === '1') writeFileSync(root + name, withExamples(page));
  else expect(withExamples(page)).toBe(page);
});

test('each example is shown somewhere', () => {
  const shown = pages.flatMap((name) =>
    [...readFileSync(root + name, 'utf8').matchAll(EXAMPLE)].map((match) => match[1]),
  );
  const examples = readdirSync(`${root}examples`).map((name) => `examples/${name}`);
  expect(shown.toSorted()).toEqual(examples.toSorted());
});

test('canary: a page that shows something else is seen', () => {
  const stale = '<!-- example: package.json -->\n```ts\nold\n```';
  expect(withExamples(stale)).not.toBe(stale);
});
