/*
 * Text for people, from names that anybody may have chosen: made harmless, wrapped, enumerated.
 */

/** What a terminal, an XML parser or a reader could take for something else: controls, bidi overrides, halves of pairs. */
const UNSAFE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]|\p{Surrogate}/gu;

/** The text with every character that cannot be seen written as its number. */
export function visible(text: string): string {
  return text.replace(UNSAFE, (each) => `\\u{${each.codePointAt(0)!.toString(16)}}`);
}

/** Text as lines of at most `columns` characters; a longer word is cut, behind - or / if it can be. Empty text is one empty line. */
export function wrap(text: string, columns: number): string[] {
  const width = Math.max(1, columns);
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    let rest = word;
    if (line !== '' && line.length + 1 + rest.length > width) {
      lines.push(line);
      line = '';
    }
    while (rest.length > width) {
      const joint = Math.max(rest.lastIndexOf('-', width - 1), rest.lastIndexOf('/', width - 1)) + 1;
      const cut = joint > 0 ? joint : width;
      lines.push(rest.slice(0, cut));
      rest = rest.slice(cut);
    }
    line = line === '' ? rest : `${line} ${rest}`;
  }
  lines.push(line);
  return lines;
}

/** 'a', 'a and b', 'a, b and c'. */
export function enumerate(words: readonly string[]): string {
  if (words.length < 2) return words.join('');
  return `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

/** '1 step', '2 steps'. */
export function count(many: number, what: string): string {
  return `${many} ${what}${many === 1 ? '' : 's'}`;
}

/** The sentence with a capital letter. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
