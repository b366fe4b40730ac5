import { expect, test } from 'vitest';
import type { ServeEvent } from './events.ts';
import { limitEvents } from './limit-events.ts';

const toggle: ServeEvent = {
  event: 'suspend',
  device: 'ram',
  reason: 'decode is off',
  start: 0,
  length: 4096,
};

function limited(): { tell: (event: ServeEvent) => void; told: ServeEvent[]; clock: { ms: number } } {
  const told: ServeEvent[] = [];
  const clock = { ms: 0 };
  const tell = limitEvents(
    'ram',
    (event) => told.push(event),
    () => clock.ms,
  );
  return { tell, told, clock };
}

test('a few events all come through', () => {
  const { tell, told } = limited();
  for (let i = 0; i < 100; i++) tell(toggle);
  expect(told).toHaveLength(100);
});

test('a flood is cut, and its length is told when it may be', () => {
  const { tell, told, clock } = limited();
  for (let i = 0; i < 50_000; i++) tell(toggle);
  const first = told.length;
  expect(first).toBeLessThan(1000);
  clock.ms += 1000;
  tell(toggle);
  expect(told.slice(first)).toMatchObject([
    { event: 'log', level: 'warn', message: `${50_000 - first} events came too fast to be told` },
    { event: 'suspend' },
  ]);
});

test('what others wait for comes through in a flood', () => {
  const { tell, told } = limited();
  for (let i = 0; i < 50_000; i++) tell(toggle);
  tell({ event: 'stopped', device: 'ram' });
  expect(told.at(-1)).toEqual({ event: 'stopped', device: 'ram' });
});
