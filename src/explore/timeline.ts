/*
 * A trace as lines of text: time goes down; who does what, and what that changes. As a list, or with a column for each thread where
 * there is room for that.
 */
import type { Property } from '../sim/machine.ts';
import {
  changeWords,
  type NumberedStep,
  propertiesOf,
  type Story,
  setupWords,
  stepWords,
  storyOf,
  titleOf,
  verdictsOf,
} from './story.ts';
import { count, visible, wrap } from './text.ts';
import type { Trace } from './trace.ts';

/** How text is set off. Each function gets text and gives back the same text, in a colour if it likes. */
export interface TimelineStyle {
  strong(text: string): string;
  faint(text: string): string;
  bad(text: string): string;
}

/** Text as it is. */
export const PLAIN_STYLE: TimelineStyle = {
  strong: (text) => text,
  faint: (text) => text,
  bad: (text) => text,
};

/** How to show a trace. */
export interface TimelineOptions {
  /** Characters of a line; at least 40 are used. */
  readonly columns: number;
  readonly style?: TimelineStyle;
  /** What the trace was made for; it comes first among what broke. */
  readonly property?: Property;
  /** Columns need 30 characters for each thread; without them, or with one thread, it is a list. */
  readonly form?: 'list' | 'columns';
}

const LEAST_COLUMNS = 40;
const LEAST_THREAD_COLUMN = 30;
const LONGEST_NAME = 16;
const MARK = '!!';

/** The trace as lines without a line break. */
export function timeline(trace: Trace, options: TimelineOptions): string[] {
  const columns = Math.max(LEAST_COLUMNS, Math.floor(options.columns) || 0);
  const style = options.style ?? PLAIN_STYLE;
  const story = storyOf(trace, options.property);
  const numbers = Math.max(MARK.length, String(trace.steps.length).length);
  const room = Math.floor((columns - numbers - 1) / Math.max(1, story.threads.length)) - 3;
  const wide = options.form !== 'list' && story.threads.length > 1 && room >= LEAST_THREAD_COLUMN;
  const view = { story, style, columns, numbers };
  return [
    ...wrap(`${titleOf(trace)}: ${count(trace.steps.length, 'step')}`, columns).map((line) =>
      style.strong(line),
    ),
    '',
    ...setupLines(view),
    ...(wide ? columnLines(view, room) : listLines(view)),
    ...verdictLines(view),
  ];
}

interface View {
  readonly story: Story;
  readonly style: TimelineStyle;
  readonly columns: number;
  /** Characters of a step's number. */
  readonly numbers: number;
}

function setupLines({ story, style, columns, numbers }: View): string[] {
  const words = setupWords(story);
  if (words === '') return [];
  const breaks = story.setupBreaks.length === 0 ? '' : `; breaks ${story.setupBreaks.join(', ')}`;
  const indent = ' '.repeat(numbers + 1);
  const text = `${words} (${count(story.setupSteps, 'step')}${breaks})`;
  return wrap(text, columns - indent.length).map((line) => indent + style.faint(line));
}

/** Number, thread, step, and what it changed beside that. */
function listLines(view: View): string[] {
  const { story, style, columns, numbers } = view;
  const names = Math.min(LONGEST_NAME, Math.max(0, ...story.threads.map((name) => visible(name).length)));
  const room = columns - numbers - names - 3;
  const longest = Math.max(0, ...story.steps.map((step) => stepWords(step).length));
  const steps = Math.min(longest, Math.floor(room * 0.58));
  const lines: string[] = [];
  for (const step of story.steps) {
    const bad = step.number === story.breakingStep;
    const changes = notesOf(step, story).flatMap(({ text }) => wrap(text, room - steps - 2));
    const words = wrap(stepWords(step), changes.length === 0 ? room : steps);
    const name = visible(step.thread).slice(0, names).padEnd(names);
    for (let i = 0; i < Math.max(words.length, changes.length); i++) {
      const left = i === 0 ? `${numberOf(step, view)} ${name}` : ' '.repeat(numbers + 1 + names);
      const word = words[i] ?? '';
      const change = changes[i] ?? '';
      const text = change === '' ? word : word.padEnd(steps);
      const shown = bad ? style.bad(text) : text;
      lines.push(`${left}  ${shown}${change === '' ? '' : `  ${style.faint(change)}`}`.trimEnd());
    }
  }
  return lines;
}

/** A column for each thread; what a step changed is below it. */
function columnLines(view: View, room: number): string[] {
  const { story, style, numbers } = view;
  const gutter = ' '.repeat(numbers + 1);
  const row = (left: string, cell: (column: number) => string): string =>
    (left + story.threads.map((_, column) => `| ${cell(column)}`).join(' ')).trimEnd();
  const blank = ' '.repeat(room);
  const lines = [
    row(gutter, (column) => style.strong(visible(story.threads[column]!).slice(0, room).padEnd(room))),
    `${gutter}${story.threads.map(() => `+${'-'.repeat(room + 1)}`).join('-')}`,
  ];
  for (const step of story.steps) {
    const own = story.threads.indexOf(step.thread);
    const words = wrap(stepWords(step), room);
    const changes = notesOf(step, story).flatMap(({ mark, text }) =>
      wrap(text, room - 2).map((line, i) => `${i === 0 ? mark : ' '} ${line}`),
    );
    const shownWord = step.number === story.breakingStep ? style.bad : (text: string): string => text;
    for (const [i, text] of [...words, ...changes].entries()) {
      const shown = i < words.length ? shownWord(text.padEnd(room)) : style.faint(text.padEnd(room));
      const left = i === 0 ? `${numberOf(step, view)} ` : gutter;
      lines.push(row(left, (column) => (column === own ? shown : blank)));
    }
  }
  return lines;
}

/** What a step changed, and what it broke on the way to what the trace is about. */
function notesOf(step: NumberedStep, { breakingStep }: Story): { mark: '=' | '!'; text: string }[] {
  const changes = changeWords(step).map((text) => ({ mark: '=' as const, text }));
  const broken = step.number === breakingStep ? [] : propertiesOf(step.violations);
  if (broken.length === 0) return changes;
  return [...changes, { mark: '!', text: `breaks ${broken.join(', ')}` }];
}

/** The number of a step; of the one that broke something, the mark. */
function numberOf({ number }: NumberedStep, { story, style, numbers }: View): string {
  if (number === story.breakingStep) return style.bad(MARK.padStart(numbers));
  return style.faint(String(number).padStart(numbers));
}

/** What broke, each property with its sentences. */
function verdictLines({ story, style, columns, numbers }: View): string[] {
  if (story.violations.length === 0) return ['', 'nothing is broken'];
  const indent = ' '.repeat(numbers + 1);
  return verdictsOf(story).flatMap(({ title, texts }) => [
    '',
    ...wrap(title, columns - indent.length).map((line, i) =>
      style.bad((i === 0 ? `${MARK.padStart(numbers)} ` : indent) + line),
    ),
    ...texts.flatMap((text) => wrap(text, columns - indent.length).map((line) => indent + line)),
  ]);
}
