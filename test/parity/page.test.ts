/*
 * docs/linux-differences.md says what differences.ts says. `UPDATE_README=1 npx vitest run test/parity/page.test.ts` writes it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { withDifferences } from './page.ts';

const path = fileURLToPath(new URL('../../docs/linux-differences.md', import.meta.url));

test('the page of differences is as the list', () => {
  const page = readFileSync(path, 'utf8');
  if (process.env['UPDATE_README'] === '1') writeFileSync(path, withDifferences(page));
  else expect(withDifferences(page)).toBe(page);
});

test('canary: a page that says something else is seen', () => {
  const page = readFileSync(path, 'utf8');
  const stale = page.replace('a stale entry is a use after free', 'nobody knows');
  expect(stale).not.toBe(page);
  expect(withDifferences(stale)).not.toBe(stale);
});

test('a page without the marks is refused', () => {
  expect(() => withDifferences('nothing')).toThrow(/marks/);
});
