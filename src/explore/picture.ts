/*
 * A trace as a sequence picture: a lifeline for each thread and for the hardware that changes, time going down, what each step does
 * and where that shows, the locks while they are held, and in red what breaks.
 */
import { VfioError } from '../core/index.ts';
import type { Property } from '../sim/machine.ts';
import type { Observation } from '../sim/observe.ts';
import {
  arrow,
  box,
  down,
  elbow,
  escapeXml,
  LOCK_COLOURS,
  styleSheet,
  textAt,
  textWidth,
} from './picture-parts.ts';
import { ruleTitle } from './rules.ts';
import {
  type NumberedStep,
  operationWords,
  propertiesOf,
  type Story,
  setupWords,
  stepWords,
  storyOf,
  titleOf,
  verdictsOf,
} from './story.ts';
import { capital, count, enumerate, visible, wrap } from './text.ts';
import type { Trace } from './trace.ts';

const WIDTH = 960;
const MARGIN = 28;
/** Numbers of steps stand here. */
const GUTTER = 30;
const LINE = 16;
/** Of a character of the text, more or less; the font is the reader's. */
const CHARACTER = 7;
const PADDING = 7;
const GAP = 10;
const LOCK_WIDTH = 5;
/** A caption above the first step of an operation. */
const CAPTION = 17;
const HEADING = 30;
/** More steps than anybody looks at. */
const STEP_LIMIT = 1000;
const THREAD_WEIGHT = 1.3;

interface Lane {
  readonly name: string;
  readonly thread: boolean;
  readonly left: number;
  readonly width: number;
  /** Where its lifeline is. */
  readonly line: number;
  /** Where its boxes begin. */
  readonly boxes: number;
}

/** A lock that a thread has for some time. */
interface Holding {
  readonly lock: string;
  readonly thread: string;
  /** Positions in the told steps; the last is their number if nobody lets it go. */
  readonly from: number;
  readonly to: number;
  /** Place among the locks that the thread has at the same time. */
  readonly slot: number;
}

/** One box with text. */
interface Label {
  readonly lane: Lane;
  readonly lines: readonly string[];
  readonly width: number;
  readonly height: number;
}

interface Row {
  readonly step: NumberedStep;
  readonly label: Label;
  readonly notes: readonly string[];
  readonly changes: readonly Label[];
  /** What the operation does, above its first step; '' if that is its only one. */
  readonly caption: string;
  readonly top: number;
  readonly height: number;
}

/**
 * An SVG picture, 960 wide and as high as it needs to be, that stands alone: no script, no font, no address. `property` comes
 * first among what broke. ENOSPC: more than 1000 steps.
 */
export function sequencePicture(trace: Trace, property?: Property): string {
  const story = storyOf(trace, property);
  if (story.steps.length > STEP_LIMIT)
    throw new VfioError(
      'ENOSPC',
      `a picture has at most ${STEP_LIMIT} steps, the trace has ${story.steps.length}; show it as a timeline`,
    );
  const holdings = holdingsOf(story.steps);
  const lanes = lanesOf(story, holdings);
  const locks = [...new Set(holdings.map(({ lock }) => lock))];
  const legend = legendOf(locks);
  const headings = 80 + legend.height;
  const setup = setupBand(story, headings + HEADING + 14);
  const rows = rowsOf(story, lanes, setup.bottom + GAP);
  const last = rows.at(-1);
  const bottom = (last === undefined ? setup.bottom : last.top + last.height) + 18;
  const verdict = verdictParts(story, bottom);
  const height = verdict.bottom + MARGIN;
  const title = titleOf(trace);
  const broken = propertiesOf(story.violations).map(ruleTitle);
  const summary = `${count(trace.steps.length, 'step')}${broken.length === 0 ? '' : `, broken: ${enumerate(broken)}`}`;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" font-family="system-ui, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12.5">`,
    `<title>${escapeXml(title)}</title>`,
    `<desc>${escapeXml(descriptionOf(story, summary))}</desc>`,
    `<style>${styleSheet()}</style>`,
    box(0, 0, WIDTH, height, 'class="vt-ground"', 10),
    textAt(MARGIN, 40, title, 'class="vt-text" font-size="20" font-weight="600"'),
    textAt(MARGIN, 62, capital(summary), 'class="vt-faint"'),
    ...legend.parts,
    ...lanes.flatMap((lane) => laneParts(lane, headings, bottom)),
    ...setup.parts,
    ...holdings.flatMap((holding) => holdingParts(holding, lanes, rows, locks, bottom)),
    ...rows.flatMap((row) => rowParts(row, story.breakingStep)),
    ...(last?.step.number === story.breakingStep ? [fall(last, bottom)] : []),
    ...verdict.parts,
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function descriptionOf(story: Story, summary: string): string {
  const texts = [...new Set(story.violations.map(({ property, text }) => `${property}: ${text}.`))];
  return `A sequence of ${summary}. ${capital(setupWords(story))}${story.setup.length > 0 ? '. ' : ''}${texts.join(' ')}`.trim();
}

function holdingsOf(steps: readonly NumberedStep[]): Holding[] {
  const ended: Holding[] = [];
  let held: Holding[] = [];
  for (const [i, { locks }] of steps.entries()) {
    for (const { lock, holder } of locks) {
      const before = held.find((each) => each.lock === lock);
      if (before !== undefined) ended.push({ ...before, to: i });
      held = held.filter((each) => each !== before);
      if (holder === null) continue;
      const taken = held.filter(({ thread }) => thread === holder).map(({ slot }) => slot);
      let slot = 0;
      while (taken.includes(slot)) slot++;
      held.push({ lock, thread: holder, from: i, to: steps.length, slot });
    }
  }
  return [...ended, ...held].sort((a, b) => a.from - b.from);
}

function lanesOf(story: Story, holdings: readonly Holding[]): Lane[] {
  const changed = story.steps.flatMap(({ changes }) => changes.map(({ where }) => where));
  const devices = [...new Set(changed)].filter((where) => where.startsWith('device '));
  const hardware = [
    ...(['page tables', 'IOMMU'] as const).filter((where) => changed.includes(where)),
    ...devices,
  ];
  const names = [...story.threads, ...hardware];
  const weights = names.map((_, i) => (i < story.threads.length ? THREAD_WEIGHT : 1));
  const unit = (WIDTH - 2 * MARGIN - GUTTER + GAP) / weights.reduce((sum, weight) => sum + weight, 0);
  let left = MARGIN + GUTTER;
  return names.map((name, i) => {
    const thread = i < story.threads.length;
    const width = weights[i]! * unit;
    const slots = Math.max(
      0,
      ...holdings.filter((each) => thread && each.thread === name).map(({ slot }) => slot + 1),
    );
    const line = left + 14;
    const lane = {
      name,
      thread,
      left,
      width,
      line,
      boxes: line + 14 + Math.max(0, slots - 1) * (LOCK_WIDTH + 2),
    };
    left += width;
    return lane;
  });
}

function labelOf(lane: Lane, text: string): Label {
  const room = lane.left + lane.width - lane.boxes - GAP;
  const lines = wrap(text, Math.floor((room - 2 * PADDING) / CHARACTER));
  const width = Math.min(room, Math.max(...lines.map(textWidth)) + 2 * PADDING + 6);
  return { lane, lines, width, height: heightOf(lines.length) };
}

function heightOf(lines: number): number {
  return lines * LINE + 2 * PADDING - 2;
}

function rowsOf(story: Story, lanes: readonly Lane[], top: number): Row[] {
  let y = top;
  return story.steps.map((step) => {
    const lane = lanes.find(({ thread, name }) => thread && name === step.thread)!;
    const broken = step.number === story.breakingStep ? [] : propertiesOf(step.violations);
    const notes = broken.length === 0 ? [] : [`breaks ${broken.join(', ')}`];
    const words = labelOf(lane, stepWords(step));
    const label = { ...words, height: words.height + notes.length * LINE };
    const changes = changesOf(step, lanes);
    const changesHeight = changes.reduce((sum, { height }) => sum + height + 4, -4);
    const caption = step.begins && !step.ends ? operationWords(step.operation) : '';
    const above = caption === '' ? 0 : CAPTION;
    const height = Math.max(label.height, changesHeight);
    const row = { step, label, notes, changes, caption, top: y + above, height };
    y += above + height + GAP;
    return row;
  });
}

/** One box for each lane where something changed. */
function changesOf({ changes }: NumberedStep, lanes: readonly Lane[]): Label[] {
  return lanes
    .filter(({ thread }) => !thread)
    .flatMap((lane) => {
      const labels = changes
        .filter(({ where }) => where === lane.name)
        .map((change) => labelOf(lane, changeOf(change)));
      if (labels.length === 0) return [];
      const lines = labels.flatMap((label) => label.lines);
      const width = Math.max(...labels.map((label) => label.width));
      return [{ lane, lines, width, height: heightOf(lines.length) }];
    });
}

/** What the lane says already is left out: 'decode: off' in the lane of a device, 'peer: no entry' in that of the IOMMU. */
function changeOf({ where, what, value }: Observation): string {
  const device = where.startsWith('device ') ? where.slice('device '.length) : '';
  const endings = [` of ${device}`, ` to ${device}`];
  const ending = device === '' ? undefined : endings.find((each) => what.endsWith(each));
  const short =
    ending === undefined ? what.replace(/^(IOMMU )?page table of /, '') : what.slice(0, -ending.length);
  return visible(`${short}: ${value}`);
}

function legendOf(locks: readonly string[]): { parts: string[]; height: number } {
  if (locks.length === 0) return { parts: [], height: 0 };
  let x = MARGIN;
  let y = 86;
  const parts: string[] = [];
  for (const [i, lock] of locks.entries()) {
    const width = textWidth(visible(lock)) + 38;
    if (x > MARGIN && x + width > WIDTH - MARGIN) {
      x = MARGIN;
      y += LINE + 4;
    }
    parts.push(
      box(x, y - 11, LOCK_WIDTH, 14, `class="vt-lock${i % LOCK_COLOURS}"`, 2.5),
      textAt(x + 11, y, lock, 'class="vt-faint"'),
    );
    x += width;
  }
  return { parts, height: y - 66 };
}

function laneParts({ name, thread, left, width, line }: Lane, top: number, bottom: number): string[] {
  const room = Math.floor((width - GAP - 20) / CHARACTER);
  const shown = visible(name.replace(/^device /, '')).slice(0, room);
  return [
    down(line, top + HEADING, bottom, `class="${thread ? 'vt-life' : 'vt-wire'}"`),
    box(left, top, width - GAP, HEADING, `class="${thread ? 'vt-thread' : 'vt-hardware'}"`, thread ? 15 : 4),
    textAt(left + 14, top + 20, shown, `class="${thread ? 'vt-on' : 'vt-text'}" font-weight="600"`),
  ];
}

function setupBand(story: Story, top: number): { parts: string[]; bottom: number } {
  const words = setupWords(story);
  if (words === '') return { parts: [], bottom: top - GAP };
  const breaks = story.setupBreaks.length === 0 ? '' : `, breaks ${story.setupBreaks.join(', ')}`;
  const left = MARGIN + GUTTER;
  const width = WIDTH - MARGIN - left;
  const text = `${capital(words)} (${count(story.setupSteps, 'step')}${breaks})`;
  const lines = wrap(text, Math.floor((width - 28) / CHARACTER));
  const height = lines.length * LINE + 2 * PADDING;
  return {
    parts: [
      box(left, top, width, height, 'class="vt-box"'),
      ...lines.map((line, i) => textAt(left + 14, top + PADDING + 12 + i * LINE, line, 'class="vt-faint"')),
    ],
    bottom: top + height,
  };
}

function holdingParts(
  { lock, thread, from, to, slot }: Holding,
  lanes: readonly Lane[],
  rows: readonly Row[],
  locks: readonly string[],
  bottom: number,
): string[] {
  const lane = lanes.find((each) => each.thread && each.name === thread);
  // A thread whose steps are folded away has no lane.
  if (lane === undefined) return [];
  const start = middleOf(rows[from]!);
  const end = to < rows.length ? middleOf(rows[to]!) : bottom;
  const x = lane.line - LOCK_WIDTH / 2 + slot * (LOCK_WIDTH + 2);
  const look = `class="vt-lock${locks.indexOf(lock) % LOCK_COLOURS}"`;
  return [
    `<g><title>${escapeXml(`${thread} has ${lock}`)}</title>${box(x, start, LOCK_WIDTH, end - start, look, 2.5)}</g>`,
  ];
}

/** The height of a step's dot and arrow. */
function middleOf({ top, label }: Row): number {
  return top + Math.min(label.height, heightOf(1)) / 2;
}

function rowParts(row: Row, breakingStep: number): string[] {
  const { step, label, notes, changes, top } = row;
  const { lane, lines, width, height } = label;
  const bad = step.number === breakingStep;
  const broken = bad || notes.length > 0;
  const middle = middleOf(row);
  const number = `class="${bad ? 'vt-bad' : 'vt-faint'}" text-anchor="end"${bad ? ' font-weight="700"' : ''}`;
  const parts = [
    textAt(MARGIN + GUTTER - 10, middle + 4, String(step.number), number),
    box(lane.boxes, top, width, height, `class="${broken ? 'vt-badbox' : 'vt-box'}"`),
    ...lines.map((line, i) =>
      textAt(lane.boxes + PADDING + 2, top + PADDING + 11 + i * LINE, line, 'class="vt-text"'),
    ),
    ...notes.map((note, i) =>
      textAt(
        lane.boxes + PADDING + 2,
        top + PADDING + 11 + (lines.length + i) * LINE,
        note,
        'class="vt-bad" font-weight="600"',
      ),
    ),
    `<circle cx="${Math.round(lane.line * 10) / 10}" cy="${middle}" r="4.5" class="${broken ? 'vt-baddot' : 'vt-dot'}"/>`,
  ];
  if (row.caption !== '')
    parts.push(
      textAt(
        lane.boxes + 2,
        top - 6,
        captionOf(row.caption, lane),
        'class="vt-faint" font-size="11" font-style="italic"',
      ),
    );
  let y = top;
  for (const change of changes) {
    const at = y + heightOf(1) / 2;
    const edge = lane.boxes + width;
    // The arrows of further boxes leave the first one.
    if (y > top) parts.push(elbow(edge + 8, middle, change.lane.line - 3, at));
    else parts.push(arrow(edge, change.lane.line - 3, at));
    parts.push(box(change.lane.line - 2, y, change.width, change.height, 'class="vt-hardware"', 4));
    for (const [i, line] of change.lines.entries())
      parts.push(textAt(change.lane.line + PADDING, y + PADDING + 11 + i * LINE, line, 'class="vt-text"'));
    y += change.height + 4;
  }
  return parts;
}

function captionOf(caption: string, lane: Lane): string {
  const room = Math.floor(((lane.left + lane.width - lane.boxes - GAP) * 1.15) / CHARACTER);
  return caption.length <= room ? caption : `${caption.slice(0, room - 1)}…`;
}

/** From what broke something to what it broke. */
function fall({ label, top }: Row, bottom: number): string {
  const x = label.lane.boxes + 24;
  return down(x, top + label.height, bottom, 'class="vt-badline"');
}

/** The red box at the end: each property that broke, and its sentences. */
function verdictParts(story: Story, top: number): { parts: string[]; bottom: number } {
  if (story.violations.length === 0) return { parts: [], bottom: top };
  const width = WIDTH - 2 * MARGIN;
  const parts: string[] = [];
  let y = top + 24;
  for (const { title, texts } of verdictsOf(story)) {
    parts.push(textAt(MARGIN + 16, y, capital(title), 'class="vt-bad" font-weight="700" font-size="14"'));
    y += 20;
    for (const line of texts.flatMap((text) => wrap(text, Math.floor((width - 32) / CHARACTER)))) {
      parts.push(textAt(MARGIN + 16, y, line, 'class="vt-text"'));
      y += LINE + 1;
    }
    y += 12;
  }
  const height = y - top - 16;
  return { parts: [box(MARGIN, top, width, height, 'class="vt-badbox"', 8), ...parts], bottom: top + height };
}
