import { describe, expect, test } from 'vitest';
import { allFindings, designNamed, foundTrace, NASTY, NASTY_PROGRAM } from '../../test/support/findings.ts';
import { DESIGNS } from '../sim/index.ts';
import { sequencePicture } from './picture.ts';
import { trace } from './trace.ts';

/** An element of a picture. */
interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  text: string;
}

const TOKEN = /<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>|([^<]+)/gy;
const CHARACTER = /^(?:[^<>&]|&(?:amp|lt|gt|quot|#39);)*$/;

/** The elements of strict XML. Throws where a parser would stop: a tag left open, a stray <, & or control character. */
function parse(svg: string): Element[] {
  const elements: Element[] = [];
  const open: Element[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < svg.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(svg);
    if (match === null) throw new Error(`no XML at ${at}: ${svg.slice(at, at + 40)}`);
    const [, closing, name, attributes, empty, text] = match;
    if (text !== undefined) {
      if (!CHARACTER.test(text) || /(?!\n)\p{Cc}|\p{Cs}/u.test(text)) throw new Error(`bad text: ${text}`);
      if (open.length > 0) open.at(-1)!.text += text;
    } else if (closing === '/') {
      if (open.pop()?.name !== name) throw new Error(`</${name}> closes nothing`);
    } else {
      const pairs = [...attributes!.matchAll(/([\w:-]+)="([^"]*)"/g)].map((pair) => [pair[1]!, pair[2]!]);
      if (pairs.some((pair) => !CHARACTER.test(pair[1]!))) throw new Error(`bad attribute: ${attributes}`);
      const element = {
        name: name!,
        attributes: Object.fromEntries(pairs) as Record<string, string>,
        text: '',
      };
      elements.push(element);
      if (empty !== '/') open.push(element);
    }
  }
  if (open.length > 0) throw new Error(`<${open.at(-1)!.name}> is left open`);
  return elements;
}

function boxesOf(svg: string): { look: string; left: number; top: number; right: number; bottom: number }[] {
  return parse(svg)
    .filter(({ name }) => name === 'rect')
    .map(({ attributes }) => {
      const [left, top, width, height] = ['x', 'y', 'width', 'height'].map((key) => Number(attributes[key]));
      return {
        look: attributes['class']!,
        left: left!,
        top: top!,
        right: left! + width!,
        bottom: top! + height!,
      };
    });
}

/** Boxes with text that lie on one another, or outside of the picture. */
function misplaced(svg: string): string[] {
  const [ground, ...others] = boxesOf(svg);
  const boxes = others.filter(({ look }) => !look.startsWith('vt-lock'));
  const found: string[] = [];
  for (const [i, one] of boxes.entries()) {
    if (!(one.left >= 0 && one.top >= 0 && one.right <= ground!.right && one.bottom <= ground!.bottom))
      found.push(`${JSON.stringify(one)} is outside`);
    for (const other of boxes.slice(i + 1)) {
      const beside = one.right <= other.left || other.right <= one.left;
      if (!beside && one.bottom > other.top && other.bottom > one.top)
        found.push(`${JSON.stringify(one)} lies on ${JSON.stringify(other)}`);
    }
  }
  return found;
}

function textsOf(svg: string): string[] {
  return parse(svg)
    .filter(({ name }) => name === 'text')
    .map(({ text }) => text);
}

const MISCODED = sequencePicture(foundTrace('decode', 'rfc-2021', 'R5'), 'R5');

describe('a picture', () => {
  test('says in title and description what it shows', () => {
    const elements = parse(MISCODED);
    expect(elements.slice(0, 3).map(({ name }) => name)).toEqual(['svg', 'title', 'desc']);
    expect(elements[0]!.attributes).toMatchObject({ role: 'img', width: '960' });
    expect(elements[1]!.text).toBe('decode under rfc-2021');
    expect(elements[2]!.text).toContain('R5: BAR2 of gpu was taken away');
  });

  test('has a lane for the thread that moves and for the device that changes, and none for others', () => {
    const texts = textsOf(MISCODED);
    for (const shown of ['driver', 'gpu', 'takes the memory lock of gpu', 'decode: off', '16'])
      expect(texts).toContain(shown);
    for (const absent of ['guest', 'nic', 'IOMMU', 'page tables']) expect(texts).not.toContain(absent);
    expect(texts.join(' ')).toContain(
      'Setup: opens gpu, maps window and maps peer for DMA (13 steps, breaks R1)',
    );
  });

  test('shows what breaks in red, with its sentence', () => {
    const bad = parse(MISCODED).filter(({ attributes }) => attributes['class'] === 'vt-bad');
    expect(bad.map(({ text }) => text)).toEqual([
      '16',
      'R5 (scope) is broken: step 16',
      'R6 (lifetime) is broken: step 16',
    ]);
    expect(textsOf(MISCODED).join(' ')).toContain('its vm_pgoff is the physical page');
    expect(boxesOf(MISCODED).filter(({ look }) => look === 'vt-badbox')).toHaveLength(2);
  });

  test('shows a lock from the step that takes it to the step that lets it go', () => {
    const svg = sequencePicture(foundTrace('decode', 'dma-buf-6.19', 'R7'));
    const bars = boxesOf(svg).filter(({ look, top }) => look.startsWith('vt-lock') && top > 120);
    // Decode off holds the memory lock, and inside of that the container's; decode on holds the memory lock again.
    expect(bars.map(({ look }) => look)).toEqual(['vt-lock0', 'vt-lock1', 'vt-lock0']);
    const [off, container, on] = bars;
    expect(container!.top).toBeGreaterThan(off!.top);
    expect(container!.bottom).toBeLessThan(off!.bottom);
    expect(container!.left).toBeGreaterThanOrEqual(off!.right);
    expect(on!.top).toBeGreaterThan(off!.bottom);
    expect(svg).toContain('<title>driver has the memory lock of gpu</title>');
  });

  test('is for light and dark, and needs nothing from elsewhere', () => {
    expect(MISCODED).toContain('@media (prefers-color-scheme: dark)');
    expect(MISCODED.replace('http://www.w3.org/2000/svg', '')).not.toMatch(
      /https?:|url\(|@import|<script|href/,
    );
    const { text } = parse(MISCODED).find(({ name }) => name === 'style')!;
    const used = new Set([...MISCODED.matchAll(/class="([\w-]+)"/g)].map((match) => match[1]!));
    for (const name of used) expect(text.split(`.${name}{`)).toHaveLength(3);
  });

  test('of every finding of every design is XML, and nothing lies on anything else', () => {
    for (const design of DESIGNS)
      for (const { trace, property } of allFindings(design))
        expect(misplaced(sequencePicture(trace, property))).toEqual([]);
  });

  test('with nasty names is XML, and shows the names as they are', () => {
    const design = designNamed('linux-6.12');
    const moves = [...new Array<number>(12).fill(0), 64, 64, 64];
    const svg = sequencePicture(trace(NASTY_PROGRAM, design, moves));
    expect(misplaced(svg)).toEqual([]);
    const [, title] = parse(svg);
    const read = title!.text
      .replace(/&lt;/g, '<')
      .replace(/&gt;/g, '>')
      .replace(/&quot;/g, '"');
    expect(read.replace(/&#39;/g, "'").replace(/&amp;/g, '&')).toContain(
      '<b>&"\'`*/\\u{1b}[31m\\u{a}\\u{202e}\\u{d800}',
    );
    expect(svg).not.toContain(NASTY);
  });

  test('of no steps, and of nothing broken, is a picture', () => {
    const empty = { program: 'p', design: 'd', devices: {}, steps: [], stuck: [] };
    expect(misplaced(sequencePicture(empty))).toEqual([]);
  });

  test('has a limit, which names another way', () => {
    const long = foundTrace('decode', 'rfc-2021', 'R5');
    const steps = new Array(1001).fill(long.steps.at(-1)!);
    expect(() => sequencePicture({ ...long, steps })).toThrowError(
      expect.objectContaining({ code: 'ENOSPC', message: expect.stringContaining('timeline') }),
    );
  });
});

describe('canaries', () => {
  test('broken XML is seen', () => {
    expect(() => parse(MISCODED.replace('</desc>', ''))).toThrow();
    expect(() => parse(MISCODED.replace('decode under', 'decode & under'))).toThrow();
    expect(() => parse(MISCODED.replace('decode under', 'decode < under'))).toThrow();
    expect(() => parse(MISCODED.replace('decode under', 'decode \u001b under'))).toThrow();
  });

  test('a box on another one, and one outside, are seen', () => {
    const more = (rect: string): string => MISCODED.replace('</svg>', `${rect}</svg>`);
    const one = '<rect x="90" y="100" width="50" height="50" class="vt-box"/>';
    expect(misplaced(more(one)).length).toBeGreaterThan(0);
    expect(misplaced(more('<rect x="959" y="1" width="5" height="5" class="vt-box"/>'))).toHaveLength(1);
  });
});
