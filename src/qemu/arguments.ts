/*
 * QEMU's command line as QEMU reads it: which words are options, which are their values, and what `key=value` lists say.
 */

/** A mistake in arguments that are meant for QEMU: nothing was started. */
export class QemuArgumentError extends Error {
  override readonly name: string = 'QemuArgumentError';
  /** What to do about it, one sentence. */
  readonly nextStep: string;

  constructor(cause: string, nextStep: string) {
    super(cause);
    this.nextStep = nextStep;
  }
}

export interface QemuOption {
  /** Without dashes, and by its long name: `machine` for -M. Empty for a word that is no option, which is a disk image. */
  readonly name: string;
  /** null for an option that has none. */
  readonly value: string | null;
}

/** The options that take no value, as `qemu-system-x86_64 -h` lists them; all others take the next word, whatever it is. */
export const FLAGS: ReadonlySet<string> = new Set([
  'S',
  'daemonize',
  'enable-kvm',
  'enable-sync-profile',
  'full-screen',
  'h',
  'help',
  'jitdump',
  'mem-prealloc',
  'no-fd-bootchk',
  'no-reboot',
  'no-shutdown',
  'no-user-config',
  'nodefaults',
  'nographic',
  'only-migratable',
  'perfmap',
  'old-param',
  'preconfig',
  's',
  'semihosting',
  'snapshot',
  'usb',
  'version',
  'win2k-hack',
  'xen-attach',
  'xen-domid-restrict',
]);

/** The options among `words`, in order. QemuArgumentError if the last one lacks its value. */
export function readArguments(words: readonly string[]): readonly QemuOption[] {
  const options: QemuOption[] = [];
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (!word.startsWith('-') || word === '-') {
      options.push({ name: '', value: word });
      continue;
    }
    const name = word.replace(/^--?/, '');
    if (FLAGS.has(name)) {
      options.push({ name, value: null });
      continue;
    }
    i += 1;
    const value = words[i];
    if (value === undefined)
      throw new QemuArgumentError(`QEMU's ${word} has no value`, 'Write one behind it.');
    options.push({ name: name === 'M' ? 'machine' : name, value });
  }
  return options;
}

/** Values of all options of one name, in order. */
export function valuesOf(options: readonly QemuOption[], name: string): readonly string[] {
  return options.filter((option) => option.name === name).map((option) => option.value ?? '');
}

/**
 * A list such as `q35,accel=tcg`. A first part without `=` belongs to `firstKey`; of a key that comes twice the last value
 * counts; a comma that is part of a value is written twice. A list in JSON gives its strings, numbers and booleans.
 */
export function readList(text: string, firstKey: string): ReadonlyMap<string, string> {
  if (text.startsWith('{')) return readJson(text);
  const list = new Map<string, string>();
  const parts = text.replaceAll(',,', '\0').split(',');
  for (const [index, part] of parts.entries()) {
    const equals = part.indexOf('=');
    const value = part.slice(equals + 1).replaceAll('\0', ',');
    if (equals >= 0) list.set(part.slice(0, equals), value);
    else list.set(index === 0 ? firstKey : value, index === 0 ? value : 'on');
  }
  return list;
}

function readJson(text: string): ReadonlyMap<string, string> {
  try {
    const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
    const shown = (value: unknown): string =>
      value === true ? 'on' : value === false ? 'off' : String(value);
    return new Map(entries.map(([key, value]) => [key, shown(value)]));
  } catch {
    throw new QemuArgumentError(`${text} is no JSON`, 'Check its quotes; the shell may have taken some.');
  }
}
