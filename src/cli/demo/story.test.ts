import { describe, expect, it } from 'vitest';
import { styleFor } from '../terminal.ts';
import { LINUX_TYPE1 } from './linux-type1.ts';
import { Story } from './story.ts';

function listen(json: boolean, isTTY: boolean = false) {
  const written: string[] = [];
  const output = { write: (text: string) => written.push(text), isTTY };
  const story = new Story({ output, style: styleFor(output, {}), json });
  return { story, text: () => written.join('') };
}

const GOOD = { rule: 'R4', step: 'message access', expected: 'EIO', seen: 'EIO' };
const BAD = { rule: 'R4', step: 'message access', expected: 'EIO', seen: 'success' };

describe('Story', () => {
  it('counts what was told and what failed', () => {
    const { story } = listen(false);
    story.tell(GOOD);
    story.tell(BAD);
    story.tell({ ...GOOD, ok: false });
    expect(story.told).toBe(3);
    expect(story.failed).toBe(2);
  });

  it('says what was expected and what was seen, one line a step', () => {
    const { story, text } = listen(false);
    story.tell(BAD);
    expect(text()).toBe('FAIL R4  message access: expected EIO, seen success\n');
  });

  it('sets the record of Linux beside the step and marks it as one', () => {
    const { story, text } = listen(false);
    story.tell({ ...GOOD, linux: 'messageOff' });
    expect(text()).toContain('Linux 7.3 type1, recorded: EIO too [6.ivshmem.i.pread-bar]');
  });

  it('writes one JSON object a step and leaves chapters out', () => {
    const { story, text } = listen(true);
    story.chapter('decode off');
    story.tell(GOOD);
    expect(JSON.parse(text())).toEqual({ ...GOOD, ok: true });
    expect(text().endsWith('}\n')).toBe(true);
  });

  it('uses colours on a terminal only', () => {
    const plain = listen(false);
    plain.story.tell(GOOD);
    const terminal = listen(false, true);
    terminal.story.tell(GOOD);
    expect(plain.text()).not.toContain('\u001b');
    expect(terminal.text()).toContain('\u001b[32m');
  });
});

describe('styleFor', () => {
  it('respects NO_COLOR and dumb terminals', () => {
    const output = { write: () => true, isTTY: true };
    expect(styleFor(output, { NO_COLOR: '1' }).colour).toBe(false);
    expect(styleFor(output, { TERM: 'dumb' }).colour).toBe(false);
    expect(styleFor(output, { NO_COLOR: '' }).colour).toBe(true);
  });
});

describe('LINUX_TYPE1', () => {
  it('names the records behind every sentence', () => {
    for (const fact of Object.values(LINUX_TYPE1)) {
      expect(fact.records.length).toBeGreaterThan(0);
      for (const record of fact.records) {
        expect(record.name).toMatch(/^[0-9]+\.\S/);
        expect(record.answer).not.toBe('');
      }
    }
  });
});
