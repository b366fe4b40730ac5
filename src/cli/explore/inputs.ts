/**
 * Designs and programs that are named on the command line: built in, or in a file.
 */
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { VfioError } from '../../core/index.ts';
import { HURRICANE, PROGRAMS, STORM } from '../../explore/index.ts';
import {
  DESIGNS,
  type Design,
  PROPERTIES,
  type Program,
  type Property,
  parseDesign,
  parseProgram,
  SimulatedHost,
} from '../../sim/index.ts';
import { UsageError } from '../usage-error.ts';

/** All built-in programs. */
export const BUILT_IN: readonly Program[] = [...PROGRAMS, STORM, HURRICANE];

/** A design by name, or from a JSON file. */
export function designNamed(name: string): Design {
  const known = DESIGNS.find((design) => design.name === name);
  if (known !== undefined) return known;
  if (!name.endsWith('.json')) {
    const names = DESIGNS.map((design) => design.name).join(', ');
    throw new UsageError(
      `no design is named '${name}'`,
      `There are ${names}; or give a file that ends with .json.`,
    );
  }
  return fromFile(name, () => parseDesign(JSON.parse(contents(name)), DESIGNS));
}

/** A program by name, from a JSON file, or the default export of a module; a host can be made of it. */
export async function programNamed(name: string): Promise<Program> {
  const known = BUILT_IN.find((program) => program.name === name);
  if (known !== undefined) return known;
  if (name.endsWith('.json')) return fromFile(name, () => checked(JSON.parse(contents(name))));
  if (/\.[mc]?[jt]s$/.test(name)) {
    const exported = await defaultExport(name);
    return fromFile(name, () => checked(exported));
  }
  const names = BUILT_IN.map((program) => program.name).join(', ');
  throw new UsageError(
    `no program is named '${name}'`,
    `There are ${names}; or give a file: .json, or a module that exports one as its default.`,
  );
}

/** A property by name, in any case. */
export function propertyNamed(name: string): Property {
  const found = PROPERTIES.find((property) => property.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  throw new UsageError(`no property is named '${name}'`, `There are ${PROPERTIES.join(', ')}.`);
}

function contents(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`, 'Check the path.');
  }
}

function fromFile<Thing>(path: string, read: () => Thing): Thing {
  try {
    return read();
  } catch (error) {
    if (error instanceof VfioError || error instanceof SyntaxError)
      throw new UsageError(`${path}: ${error.message}`, 'Correct the file.');
    throw error;
  }
}

function checked(value: unknown): Program {
  const program = parseProgram(value);
  // Names and limits do not depend on the design.
  new SimulatedHost(program, DESIGNS[0]!);
  return program;
}

async function defaultExport(path: string): Promise<unknown> {
  contents(path);
  try {
    return ((await import(pathToFileURL(path).href)) as { default?: unknown }).default;
  } catch (error) {
    throw new UsageError(`cannot load ${path}: ${(error as Error).message}`, 'Correct the module.');
  }
}
