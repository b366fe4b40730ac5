/* The emitter: everybody is told, whatever the others do. */
import { describe, expect, it } from 'vitest';
import { attempt, Emitter, rethrow } from './events.ts';

interface Events {
  suspend: number;
  resume: string;
}

function emitter(limit?: number): { events: Emitter<Events>; told: string[] } {
  return { events: new Emitter<Events>(limit), told: [] };
}

describe('Emitter', () => {
  it('tells listeners of that event, in the order of subscription', () => {
    const { events, told } = emitter();
    events.on('suspend', (n) => told.push(`a${n}`));
    events.on('resume', (s) => told.push(s));
    events.on('suspend', (n) => told.push(`b${n}`));
    events.emit('suspend', 1, []);
    expect(told).toEqual(['a1', 'b1']);
  });

  it('counts the same function twice if it subscribed twice', () => {
    const { events, told } = emitter();
    const listener = (n: number): void => void told.push(`${n}`);
    const off = events.on('suspend', listener);
    events.on('suspend', listener);
    off();
    off();
    events.emit('suspend', 1, []);
    expect([told, events.count('suspend'), events.count('resume')]).toEqual([['1'], 1, 0]);
  });

  it('goes on after a listener that throws, and keeps what it threw', () => {
    const { events, told } = emitter();
    const errors: unknown[] = [];
    events.on('suspend', () => {
      throw new Error('mine');
    });
    events.on('suspend', () => told.push('told'));
    events.emit('suspend', 1, errors);
    expect(told).toEqual(['told']);
    expect(errors).toEqual([new Error('mine')]);
  });

  it('does not tell who left meanwhile, nor who came meanwhile', () => {
    const { events, told } = emitter();
    events.on('suspend', () => {
      offSecond();
      events.on('suspend', () => told.push('newcomer'));
    });
    const offSecond = events.on('suspend', () => told.push('second'));
    events.emit('suspend', 1, []);
    expect(told).toEqual([]);
    events.emit('suspend', 2, []);
    expect(told).toEqual(['newcomer']);
  });

  it('refuses one listener more than the limit with ENOSPC, until one leaves', () => {
    const { events } = emitter(2);
    const off = events.on('suspend', () => {});
    events.on('suspend', () => {});
    events.on('resume', () => {});
    expect(() => events.on('suspend', () => {})).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
    off();
    expect(() => events.on('suspend', () => {})).not.toThrow();
  });

  it('forgets everybody on clear', () => {
    const { events, told } = emitter();
    events.on('suspend', () => told.push('told'));
    events.clear();
    events.emit('suspend', 1, []);
    expect(told).toEqual([]);
  });
});

describe('attempt and rethrow', () => {
  it('collect what was thrown into one AggregateError at the end', () => {
    const errors: unknown[] = [];
    attempt(() => {
      throw new Error('first');
    }, errors);
    attempt(() => {}, errors);
    expect(() => rethrow(errors, 'suspend of ram0')).toThrow(AggregateError);
    expect(() => rethrow(errors, 'suspend of ram0')).toThrow('suspend of ram0');
    expect(() => rethrow([], 'nothing')).not.toThrow();
  });
});
