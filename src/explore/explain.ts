/*
 * A trace in plain words: what the rule says, what happened, what broke, and which choice of the design lets it happen. Nothing is
 * guessed: every sentence is read off the trace or off the design.
 */
import type { Design } from '../sim/design.ts';
import type { Property } from '../sim/machine.ts';
import { causeOf } from './cause.ts';
import { RULES, ruleTitle } from './rules.ts';
import { type NumberedStep, propertiesOf, type Story, stepWords, storyOf } from './story.ts';
import { capital, count, enumerate, visible } from './text.ts';
import type { Trace } from './trace.ts';

/** A few short paragraphs, in order. `design` is the one that the trace was made under. */
export function explain(trace: Trace, property: Property, design: Design): string[] {
  const story = storyOf(trace, property);
  const own = story.violations.some((each) => each.property === property);
  return [
    `${capital(ruleTitle(property))}: ${RULES[property].sentence}`,
    happened(story),
    own ? broke(trace, story, property) : `This trace does not break ${property}.`,
    own ? (causeOf(trace, property, design) ?? '') : '',
  ].filter((paragraph) => paragraph !== '');
}

function happened(story: Story): string {
  const sentences: string[] = [];
  if (story.setup.length > 0)
    sentences.push(`The setup ${enumerate(story.setup)} (${count(story.setupSteps, 'step')}).`);
  /** Threads that are in the middle of an operation. */
  const busy = new Set<string>();
  let previous = story.setup.length > 0 ? 'setup' : '';
  for (const run of runsOf(story.steps)) {
    const { thread } = run[0]!;
    const resumes = busy.delete(thread);
    sentences.push(...runSentences(run, openingOf(thread, previous, resumes, busy.size > 0)));
    if (!run.at(-1)!.ends) busy.add(thread);
    previous = thread;
  }
  return sentences.join(' ');
}

/** How the sentence about what a thread does begins. */
interface Opening {
  /** 'Meanwhile, ', 'Then ' or ''. */
  readonly link: string;
  /** 'the nic', 'it'. */
  readonly who: string;
}

function openingOf(thread: string, previous: string, resumes: boolean, othersBusy: boolean): Opening {
  const who = `the ${visible(thread)}`;
  if (thread === previous) return { link: 'Then ', who: 'it' };
  if (resumes) return { link: 'Then ', who: `${who} goes on: it` };
  if (othersBusy) return { link: 'Meanwhile, ', who };
  return { link: previous === '' || previous === 'setup' ? '' : 'Then ', who };
}

/** Steps that one thread takes without anybody in between. */
function runsOf(steps: readonly NumberedStep[]): NumberedStep[][] {
  const runs: NumberedStep[][] = [];
  for (const step of steps) {
    const run = runs.at(-1);
    if (run !== undefined && run[0]!.thread === step.thread) run.push(step);
    else runs.push([step]);
  }
  return runs;
}

/** What one thread does, in a sentence for each operation; what happens to it has sentences of its own. */
function runSentences(run: readonly NumberedStep[], opening: Opening): string[] {
  const sentences: string[] = [];
  let { link, who } = opening;
  let verbs: string[] = [];
  const say = (words: string): void => {
    sentences.push(capital(`${link}${words}.`));
    link = '';
  };
  const close = (next: Opening): void => {
    if (verbs.length > 0) say(`${who} ${enumerate(verbs)}`);
    verbs = [];
    ({ link, who } = next);
  };
  for (const step of run) {
    // A colon in the middle would end the sentence there: 'touches the window: page fault'.
    const words = stepWords(step).replace(/: (.*)$/, ' ($1)');
    if (words.startsWith('the ')) {
      const link = sentences.length === 0 && verbs.length === 0 ? opening.link : '';
      close({ link, who: `the ${visible(step.thread)}` });
      say(words);
    } else verbs.push(words);
    if (step.ends) close({ link: 'Then ', who: 'it' });
  }
  close(opening);
  return sentences;
}

function broke(trace: Trace, story: Story, property: Property): string {
  const own = story.violations.filter((each) => each.property === property);
  const sentences: string[] = [];
  const step = story.breakingStep;
  const texts = [...new Set(own.map(({ text }) => visible(text)))];
  const where = step === 0 ? 'Now nothing can move any more' : `Step ${step} breaks ${property}`;
  sentences.push(`${where}: ${texts.join('; ')}.`);
  if (step === 0) sentences.push(...locksHeld(trace));
  const others = propertiesOf(story.violations).filter((each) => each !== property);
  if (others.length > 0) {
    const what = step === 0 ? 'That' : 'The same step';
    sentences.push(`${what} also breaks ${enumerate(others.map(ruleTitle))}.`);
  }
  const before = step === 0 ? trace.steps : trace.steps.slice(0, step - 1);
  const earlier = propertiesOf(before.flatMap(({ violations }) => violations)).filter(
    (each) => each !== property && !others.includes(each),
  );
  if (earlier.length > 0) sentences.push(`Before that, ${enumerate(earlier.map(ruleTitle))} was broken.`);
  return sentences.join(' ');
}

/** Who has which lock at the end: each thread that waits for ever waits for one of them, or for another thread. */
function locksHeld({ steps }: Trace): string[] {
  const holders = new Map<string, string>();
  for (const { lock, holder } of steps.flatMap(({ locks }) => locks)) {
    if (holder === null) holders.delete(lock);
    else holders.set(lock, holder);
  }
  const held = [...holders].map(([lock, holder]) => `${visible(holder)} has ${visible(lock)}`);
  return held.length === 0 ? [] : [`At that time ${enumerate(held)}.`];
}
