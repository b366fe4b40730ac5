import { describe, expect, it } from 'vitest';
import { FakeSys, openSys, type SysLayer } from '../../sys/index.ts';
import { tryMemory } from './look.ts';

/** The system, with some of its calls replaced. */
function broken(sys: SysLayer, calls: Partial<SysLayer>): SysLayer {
  return new Proxy(sys, {
    get: (target, name) => {
      const call = Reflect.get(calls, name) ?? Reflect.get(target, name);
      return typeof call === 'function' ? call.bind(target) : call;
    },
  });
}

describe.each([
  ['the system', () => openSys()],
  ['the fake', () => new FakeSys()],
])('tryMemory over %s', (_what, open) => {
  it('sees memory that is shared and sealed, and keeps none of it', () => {
    const sys = open();
    const before = sys.counts().mappings;
    expect(tryMemory(sys)).toEqual({ error: null, sealHolds: true, refusesSeals: true });
    expect(sys.counts().mappings).toBe(before);
  });

  it('sees memory that cannot be made', () => {
    const none = broken(open(), {
      memfdCreate: () => {
        throw new Error('EPERM: not here');
      },
    });
    expect(tryMemory(none).error).toBe('EPERM: not here');
  });

  it('sees a seal that does not hold', () => {
    expect(tryMemory(broken(open(), { addSeals: () => {} })).sealHolds).toBe(false);
  });

  it('sees memory that whoever has it can seal', () => {
    const sys = open();
    const always = broken(sys, { memfdCreate: (name) => sys.memfdCreate(name, { allowSealing: true }) });
    expect(tryMemory(always)).toEqual({ error: null, sealHolds: true, refusesSeals: false });
  });
});
