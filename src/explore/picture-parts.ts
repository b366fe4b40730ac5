/*
 * The pieces of a picture: text that is safe in SVG, a style sheet for light and dark, boxes and arrows.
 */
import { visible } from './text.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Any text as the content of an element or a quoted attribute. */
export function escapeXml(text: string): string {
  return visible(text).replace(/[&<>"']/g, (each) => ENTITIES[each]!);
}

/** Locks have as many colours; more share them. */
export const LOCK_COLOURS = 6;

interface Palette {
  readonly ground: string;
  readonly text: string;
  readonly faint: string;
  readonly line: string;
  readonly box: string;
  readonly edge: string;
  readonly thread: string;
  readonly hardware: string;
  readonly bad: string;
  readonly badGround: string;
  readonly locks: readonly string[];
}

const LIGHT: Palette = {
  ground: '#ffffff',
  text: '#1f2328',
  faint: '#59636e',
  line: '#d1d9e0',
  box: '#f6f8fa',
  edge: '#c4ccd4',
  thread: '#0a4da8',
  hardware: '#eef1f4',
  bad: '#c4161c',
  badGround: '#fff0ef',
  locks: ['#8250df', '#bc6c00', '#0f7b6c', '#b5367a', '#3366cc', '#6e7500'],
};

const DARK: Palette = {
  ground: '#0d1117',
  text: '#e6edf3',
  faint: '#9198a1',
  line: '#3d444d',
  box: '#161b22',
  edge: '#444c56',
  thread: '#1f5fbf',
  hardware: '#212830',
  bad: '#ff7b72',
  badGround: '#32171a',
  locks: ['#b48cf2', '#e3a33c', '#3fc1ad', '#ea7ab4', '#79a8ff', '#c4cc4a'],
};

/** The style sheet. Every class has the prefix `vt-`, so that a page with several pictures stays as it is. */
export function styleSheet(): string {
  return `${rules(LIGHT)}@media (prefers-color-scheme: dark){${rules(DARK)}}`;
}

function rules(palette: Palette): string {
  const { ground, text, faint, line, box, edge, thread, hardware, bad, badGround, locks } = palette;
  return [
    `.vt-ground{fill:${ground}}`,
    `.vt-text{fill:${text}}`,
    `.vt-faint{fill:${faint}}`,
    `.vt-bad{fill:${bad}}`,
    '.vt-on{fill:#ffffff}',
    `.vt-life{stroke:${line};stroke-width:2}`,
    `.vt-wire{stroke:${line};stroke-width:2;stroke-dasharray:2 4}`,
    `.vt-arrow{stroke:${faint};stroke-width:1.25;fill:none}`,
    `.vt-tip{fill:${faint}}`,
    `.vt-box{fill:${box};stroke:${edge};stroke-width:1}`,
    `.vt-dot{fill:${ground};stroke:${faint};stroke-width:2}`,
    `.vt-baddot{fill:${bad};stroke:${ground};stroke-width:2}`,
    `.vt-thread{fill:${thread}}`,
    `.vt-hardware{fill:${hardware};stroke:${edge};stroke-width:1}`,
    `.vt-badbox{fill:${badGround};stroke:${bad};stroke-width:1.5}`,
    `.vt-badline{stroke:${bad};stroke-width:1.5;fill:none}`,
    ...locks.map((colour, i) => `.vt-lock${i}{fill:${colour}}`),
  ].join('');
}

/** One line of text. `y` is its base line. */
export function textAt(x: number, y: number, text: string, look: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${look}>${escapeXml(text)}</text>`;
}

/** About how wide a text is, in a wide one of the usual fonts at the picture's size. */
export function textWidth(text: string): number {
  let width = 0;
  for (const each of text) {
    if (/[mwMW@%]/.test(each)) width += 11;
    else if (/[ijlftr.,:;'"|!()[\]{} ]/.test(each)) width += 4.7;
    else if (/[A-Z]/.test(each)) width += 8.5;
    else width += 7.7;
  }
  return width;
}

/** A rectangle. */
export function box(
  x: number,
  y: number,
  width: number,
  height: number,
  look: string,
  radius: number = 6,
): string {
  return `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" rx="${radius}" ${look}/>`;
}

/** A horizontal arrow. */
export function arrow(from: number, to: number, y: number): string {
  const back = to > from ? -7 : 7;
  return (
    `<path class="vt-arrow" d="M${round(from)} ${round(y)}H${round(to + back)}"/>` +
    `<path class="vt-tip" d="M${round(to)} ${round(y)}l${back} -4v8z"/>`
  );
}

/** An arrow that goes down from a line and then across. */
export function elbow(x: number, from: number, to: number, y: number): string {
  return `${down(x, from, y, 'class="vt-arrow"')}${arrow(x, to, y)}`;
}

/** A vertical line. */
export function down(x: number, from: number, to: number, look: string): string {
  return `<path ${look} d="M${round(x)} ${round(from)}V${round(to)}"/>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
