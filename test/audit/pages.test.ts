import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { RULES } from '../../src/audit/index.ts';

const folder = fileURLToPath(new URL('../../docs/audit/', import.meta.url));

test('each rule has a page, and each page a rule', () => {
  const pages = readdirSync(folder).map((name) => name.replace(/\.md$/, ''));
  expect(pages.toSorted()).toEqual(RULES.map(({ name }) => name).toSorted());
});

test.each(RULES)('the page of $name tells its severity and shows what is right', ({ name, severity }) => {
  const page = readFileSync(`${folder}${name}.md`, 'utf8');
  expect(page.startsWith(`# ${name}\n\n*${severity[0]!.toUpperCase()}${severity.slice(1)}`)).toBe(true);
  expect(page).toMatch(/Right: ?[\s\S]*```c\n[\s\S]+```/);
});
