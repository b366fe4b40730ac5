/**
 * The findings as text: one line a check, what to do below it.
 */
import type { Style } from '../terminal.ts';
import { ADVICE } from './advice.ts';
import type { Finding } from './checks.ts';

const STATE_CHARS = 7;

export function renderFindings(findings: readonly Finding[], style: Style): string {
  const width = Math.max(...findings.map((finding) => finding.check.length));
  const indent = ' '.repeat(STATE_CHARS + 2 + width + 2);
  const lines = findings.flatMap(({ check, state, message, nextSteps }) => [
    `${paint(state, style)}  ${check.padEnd(width)}  ${message}`,
    ...nextSteps.map((step) => `${indent}${style.faint('->')} ${step}`),
  ]);
  const problems = findings.filter((finding) => finding.state === 'problem').length;
  const verdict = problems === 0 ? style.good('nothing is in the way') : style.bad(`${problems} in the way`);
  return `${lines.join('\n')}\n\n${verdict}\n\n${advice(style)}`;
}

function paint(state: Finding['state'], style: Style): string {
  const text = state.padEnd(STATE_CHARS);
  return state === 'ok' ? style.good(text) : state === 'problem' ? style.bad(text) : style.strong(text);
}

function advice(style: Style): string {
  const lines = ADVICE.map(({ sign, cause, nextStep }) => `- ${sign}:\n  ${cause}. ${nextStep}\n`);
  return `${style.strong('What cannot be seen from here')}\n${lines.join('')}`;
}
