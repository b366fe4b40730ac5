import { expect, test } from 'vitest';
import { PROPERTIES } from '../sim/index.ts';
import { RULES, ruleTitle } from './rules.ts';

test('every property that is checked has a name and one sentence', () => {
  expect(Object.keys(RULES)).toEqual([...PROPERTIES]);
  for (const property of PROPERTIES) {
    const { id, name, sentence } = RULES[property];
    expect(id).toBe(property);
    expect(name).not.toBe('');
    expect(sentence).toMatch(/^[A-Z].*\.$/);
  }
  expect(ruleTitle('R5')).toBe('R5 (scope)');
  expect(ruleTitle('deadlock')).toBe('deadlock');
});
