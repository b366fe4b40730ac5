/* Plain memory keeps the port's contract, and complains when its caller does not. */
import { describe, expect, it } from 'vitest';
import { PlainRegionMemory, RecordingTrigger } from './testing.ts';

describe('PlainRegionMemory', () => {
  it('has windows that cover it without a gap, the same view each time', () => {
    const memory = new PlainRegionMemory(10_000, 4096);
    expect([0, 4095, 4096, 9999].map((offset) => memory.windowStart(offset))).toEqual([0, 0, 4096, 8192]);
    expect([0, 4096, 8192].map((offset) => memory.bytesAt(offset).length)).toEqual([4096, 4096, 1808]);
    expect(memory.bytesAt(5000)).toBe(memory.bytesAt(4096));
    expect(() => memory.bytesAt(12_288)).toThrow('beyond');
  });

  it('clears across windows, and nothing else', () => {
    const memory = new PlainRegionMemory(12_288, 4096);
    for (const offset of [0, 4096, 8192]) memory.bytesAt(offset).fill(1);
    memory.clear(4000, 4200);
    const zeros = [0, 4096, 8192].map((offset) => memory.bytesAt(offset).filter((byte) => byte === 0).length);
    expect(zeros).toEqual([96, 4096, 8]);
    expect([memory.bytesAt(0)[3999], memory.bytesAt(8192)[8]]).toEqual([1, 1]);
  });

  it('keeps contents over suspend and resume, loses them on release, and takes these only in order', () => {
    const memory = new PlainRegionMemory(4096);
    memory.bytesAt(0)[1] = 5;
    expect(() => memory.resume()).toThrow('after a suspend');
    memory.suspend();
    expect(() => memory.suspend()).toThrow('once');
    memory.resume();
    expect(memory.bytesAt(0)[1]).toBe(5);
    memory.release();
    expect(memory.bytesAt(0)[1]).toBe(0);
    expect(() => memory.release()).toThrow('once');
    expect(() => memory.suspend()).toThrow('not after release');
    expect(memory.calls).toEqual(['suspend', 'resume', 'release']);
  });
});

describe('RecordingTrigger', () => {
  it('counts, and refuses a signal after close', () => {
    const trigger = new RecordingTrigger();
    trigger.signal();
    trigger.close();
    expect([trigger.signals, trigger.closes]).toEqual([1, 1]);
    expect(() => trigger.signal()).toThrow('closed');
  });
});
