/*
 * The files that an audit looks into, as one program: which functions there are by name, which fields of structures
 * point to them, which macros hold where. Functions are parsed when somebody asks for them.
 */
import { dirname } from 'node:path/posix';
import type { FunctionParser, Parsed } from './parser.ts';
import { expand, type Preprocessed, preprocess } from './preprocess.ts';
import type { Macro, SourceFile } from './tokens.ts';
import { type FieldValue, type FunctionUnit, findFieldValues, findFunctions } from './units.ts';

/** Headers whose macros every VFIO driver sees. */
const SUBSYSTEM_HEADER = /(^|\/)(include\/(uapi\/)?linux\/(vfio|mdev)[^/]*|drivers\/vfio\/.*)\.h$/;
const SUBSYSTEM = /(^|\/)(drivers\/vfio\/|include\/linux\/(vfio|mdev))/;
/** What may stay a name: a constant is easier to recognise than its number. */
const EXPANDED_CONSTANT = /^(return|goto|vma|vmf|mmap|vm_pgoff|vm_ops|vm_private_data)$|->/;

export interface ProgramFile {
  readonly source: SourceFile;
  readonly preprocessed: Preprocessed;
  readonly functions: readonly FunctionUnit[];
  readonly fieldValues: readonly FieldValue[];
}

export class Program {
  readonly files: ReadonlyMap<string, ProgramFile>;
  readonly #functions = new Map<string, FunctionUnit[]>();
  readonly #fields = new Map<string, FieldValue[]>();
  readonly #parsed = new Map<FunctionUnit, Parsed>();
  readonly #macros = new Map<string, Macro>();
  readonly #parser: FunctionParser;

  constructor(sources: readonly SourceFile[], parser: FunctionParser) {
    this.#parser = parser;
    const preprocessed = sources.map((source) => ({ source, result: preprocess(source) }));
    const local = new Map<string, Map<string, Macro>>();
    for (const { source, result } of preprocessed) {
      for (const macro of result.macros.values()) {
        if (SUBSYSTEM_HEADER.test(source.path)) this.#macros.set(macro.name, macro);
        if (source.path.endsWith('.h')) {
          const folder = dirname(source.path);
          if (!local.has(folder)) local.set(folder, new Map());
          local.get(folder)!.set(macro.name, macro);
        }
      }
    }
    const files = new Map<string, ProgramFile>();
    for (const { source, result } of preprocessed) {
      const folder = local.get(dirname(source.path));
      const lookup = (name: string): Macro | null => {
        const macro = result.macros.get(name) ?? folder?.get(name) ?? this.#macros.get(name);
        if (macro === undefined) return null;
        return macro.params !== null || macro.body.some(({ text }) => EXPANDED_CONSTANT.test(text))
          ? macro
          : null;
      };
      const tokens = expand(result.tokens, lookup);
      const functions = findFunctions(source, tokens);
      const fieldValues = findFieldValues(tokens);
      files.set(source.path, { source, preprocessed: result, functions, fieldValues });
      for (const unit of functions) push(this.#functions, unit.name, unit);
      for (const value of fieldValues) push(this.#fields, value.field, value);
    }
    this.files = files;
  }

  /** What `name` may mean in a file: there, else in its folder, else anywhere but as a static of somebody else. */
  functionsNamed(name: string, from: string): readonly FunctionUnit[] {
    const all = this.#functions.get(name) ?? [];
    if (all.length === 0) return all;
    const here = all.filter(({ file }) => file.path === from);
    if (here.length > 0) return here;
    const beside = all.filter(
      ({ file, isStatic }) => dirname(file.path) === dirname(from) && (!isStatic || file.path.endsWith('.h')),
    );
    if (beside.length > 0) return beside;
    return all.filter(({ file, isStatic }) => !isStatic || file.path.endsWith('.h'));
  }

  /** Values that initializers and assignments give a field, in all files. */
  fieldValues(field: string): readonly FieldValue[] {
    return this.#fields.get(field) ?? [];
  }

  /** The macro that `name` stands for in a file, for constants that were not expanded. */
  macroNamed(name: string, from: string): Macro | null {
    const own = this.files.get(from)?.preprocessed.macros.get(name);
    return own ?? this.#macroBeside(name, from) ?? this.#macros.get(name) ?? null;
  }

  parse(unit: FunctionUnit): Parsed {
    let parsed = this.#parsed.get(unit);
    if (parsed === undefined) {
      parsed = this.#parser.parse(unit);
      this.#parsed.set(unit, parsed);
    }
    return parsed;
  }

  /** Whether a file belongs to VFIO itself, and is not one of its drivers elsewhere. */
  static isSubsystem(path: string): boolean {
    return SUBSYSTEM.test(path);
  }

  #macroBeside(name: string, from: string): Macro | undefined {
    const folder = dirname(from);
    for (const [path, file] of this.files) {
      if (path.endsWith('.h') && dirname(path) === folder) {
        const macro = file.preprocessed.macros.get(name);
        if (macro !== undefined) return macro;
      }
    }
    return undefined;
  }
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
