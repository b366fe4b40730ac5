/*
 * The README shows the examples as they are: each fenced block that follows `<!-- example: PATH -->` is that file.
 * `UPDATE_README=1 npx vitest run test/house/readme.test.ts` writes them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const EXAMPLE = /<!-- example: (\S+) -->\n```ts\n[\s\S]*?```/g;

function withExamples(readme: string): string {
  return readme.replace(EXAMPLE, (_, path: string) => {
    return `<!-- example: ${path} -->\n\`\`\`ts\n${readFileSync(root + path, 'utf8')}\`\`\``;
  });
}

test('the README shows the examples as they are', () => {
  const readme = readFileSync(`${root}README.md`, 'utf8');
  expect(readme.match(EXAMPLE)).toHaveLength(2);
  if (process.env['UPDATE_README'] === '1') writeFileSync(`${root}README.md`, withExamples(readme));
  else expect(withExamples(readme)).toBe(readme);
});

test('canary: a README that shows something else is seen', () => {
  const stale = '<!-- example: package.json -->\n```ts\nold\n```';
  expect(withExamples(stale)).not.toBe(stale);
});
