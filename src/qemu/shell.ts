/*
 * A command line as text that a shell reads back as the same words.
 */

/** One word for sh(1): as it is where nothing in it is special, else in single quotes. */
export function shellWord(word: string): string {
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** All words of one command, on one line. */
export function shellLine(words: readonly string[]): string {
  return words.map(shellWord).join(' ');
}
