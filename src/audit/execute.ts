/*
 * Statements: runs a function along every path at once. Loops run once or not at all, a label is entered a few times,
 * and what lies behind a `goto` is run from its label on.
 */
import { Evaluator } from './evaluate.ts';
import { type Frame, localName, type Result } from './frame.ts';
import type { Ast } from './parser.ts';
import { mergeStates, type State } from './state.ts';
import type { FunctionUnit } from './units.ts';
import { nameValue, numberValue, UNKNOWN, type Value, VMA, VMF } from './value.ts';

/** Where paths go after a statement. */
interface Flow {
  readonly next: State[];
  readonly breaks: State[];
  readonly continues: State[];
  readonly returns: Result[];
  readonly gotos: { readonly label: string; readonly state: State }[];
}

/** A statement and the lists of statements around it, outermost first. */
type Path = readonly { readonly list: readonly Ast[]; readonly index: number }[];

const MOST_LABEL_ENTRIES = 4;
const MOST_RESULTS = 64;

const flow = (next: State[] = []): Flow => ({ next, breaks: [], continues: [], returns: [], gotos: [] });

export class Executor extends Evaluator {
  #frames = 0;

  override run(unit: FunctionUnit, args: readonly Value[], state: State, caller: Frame | null): Result[] {
    this.visited.add(unit);
    const { body } = this.program.parse(unit);
    if (body === null) return [];
    const frame: Frame = { unit, id: this.#frames++, caller, types: new Map() };
    unit.params.forEach(({ name, type }, index) => {
      this.declare(name, type, args[index] ?? UNKNOWN, state, frame);
    });
    const out = this.#statements(body.children, 0, [state], frame);
    const returns = [...out.returns, ...out.next.map((end) => ({ state: end, value: UNKNOWN }))];
    let gotos = out.gotos;
    const entries = new Map<string, number>();
    while (gotos.length > 0) {
      const label = gotos[0]!.label;
      const entered = (entries.get(label) ?? 0) + 1;
      entries.set(label, entered);
      const states = mergeStates(gotos.filter((one) => one.label === label).map((one) => one.state));
      gotos = gotos.filter((one) => one.label !== label);
      const path = findLabel(body.children, label);
      if (path === null || entered > MOST_LABEL_ENTRIES) continue;
      const after = this.#resume(path, states, frame);
      for (const result of after.returns) returns.push(result);
      for (const end of after.next) returns.push({ state: end, value: UNKNOWN });
      gotos = [...gotos, ...after.gotos];
    }
    return this.#leave(returns, frame);
  }

  /** Forgets the variables of a frame, and joins paths that differed in nothing else. */
  #leave(returns: readonly Result[], frame: Frame): Result[] {
    const groups = new Map<string, { value: Value; states: State[] }>();
    for (const { state, value } of returns) {
      for (const key of frame.types.keys()) state.variables.delete(key);
      const group = groups.get(value.key);
      if (group === undefined) groups.set(value.key, { value, states: [state] });
      else group.states.push(state);
    }
    const results = [...groups.values()].flatMap(({ value, states }) =>
      mergeStates(states).map((state) => ({ state, value })),
    );
    return results.slice(0, MOST_RESULTS);
  }

  #statements(list: readonly Ast[], from: number, states: State[], frame: Frame): Flow {
    const out = flow();
    let current = states;
    for (let index = from; index < list.length && current.length > 0; index++) {
      const step = this.#each(list[index]!, current, frame);
      current = mergeStates(step.next);
      collect(out, step);
    }
    out.next.push(...current);
    return out;
  }

  #each(ast: Ast, states: readonly State[], frame: Frame): Flow {
    const out = flow();
    for (const state of states) {
      const step = this.#statement(ast, state, frame);
      out.next.push(...step.next);
      collect(out, step);
    }
    return out;
  }

  #statement(ast: Ast, state: State, frame: Frame): Flow {
    this.steps++;
    switch (ast.kind) {
      case 'compound_statement':
        return this.#statements(ast.children, 0, [state], frame);
      case 'declaration':
        return flow(this.#declaration(ast, state, frame));
      case 'expression_statement': {
        const inner = statementExpression(ast);
        if (inner !== null) return this.#statement(inner, state, frame);
        return flow(this.evaluate(ast.children[0], state, frame).map((result) => result.state));
      }
      case 'if_statement':
        return this.#if(ast, state, frame);
      case 'while_statement':
      case 'do_statement':
      case 'for_statement':
        return this.#loop(ast, state, frame);
      case 'switch_statement':
        return this.#switch(ast, state, frame);
      case 'return_statement': {
        const out = flow();
        if (ast.children[0] === undefined) out.returns.push({ state, value: UNKNOWN });
        else out.returns.push(...this.evaluate(ast.children[0], state, frame));
        return out;
      }
      case 'goto_statement': {
        const out = flow();
        out.gotos.push({ label: ast.fields['label']?.text ?? '', state });
        return out;
      }
      case 'labeled_statement':
        return this.#statements(ast.children, ast.fields['label'] === undefined ? 0 : 1, [state], frame);
      case 'break_statement':
        return { ...flow(), breaks: [state] };
      case 'continue_statement':
        return { ...flow(), continues: [state] };
      case 'else_clause':
      case 'attributed_statement':
      case 'ERROR':
        return this.#statements(ast.children, 0, [state], frame);
      default:
        return flow(this.evaluate(ast, state, frame).map((result) => result.state));
    }
  }

  #declaration(ast: Ast, state: State, frame: Frame): State[] {
    const base = ast.fields['type']?.text ?? '';
    let states = [state];
    for (const child of ast.children) {
      const isInitialized = child.kind === 'init_declarator';
      const declarator = isInitialized ? child.fields['declarator'] : child;
      const name = declarator === undefined ? null : declaredName(declarator);
      if (name === null || child === ast.fields['type']) continue;
      const type = declarator!.kind === 'identifier' ? base : `${base} *`;
      const value = child.fields['value'];
      states = states.flatMap((before) => {
        if (!isInitialized) {
          this.declare(name, type, null, before, frame);
          return [before];
        }
        if (value?.kind === 'initializer_list') return this.#structure(name, type, value, before, frame);
        return this.evaluate(value, before, frame).map((result) => {
          this.declare(name, type, result.value, result.state, frame);
          return result.state;
        });
      });
    }
    return states;
  }

  /** `struct request r = { .vma = vma, … }`: each named field is a place of its own. */
  #structure(name: string, type: string, list: Ast, state: State, frame: Frame): State[] {
    this.declare(name, type, null, state, frame);
    return this.initialize(localName(name, frame), list, state, frame);
  }

  override evaluateBlock(ast: Ast, state: State, frame: Frame): Result[] {
    const last = ast.children.at(-1);
    const before = this.#statements(ast.children.slice(0, -1), 0, [state], frame).next;
    if (last?.kind !== 'expression_statement')
      return before.map((after) => ({ state: after, value: UNKNOWN }));
    return before.flatMap((after) => this.evaluate(last.children[0], after, frame));
  }

  #if(ast: Ast, state: State, frame: Frame): Flow {
    const { yes, no } = this.decide(ast.fields['condition'], state, frame);
    const out = flow();
    const taken = ast.fields['consequence'];
    const other = ast.fields['alternative'];
    const first = taken === undefined ? flow([...yes]) : this.#each(taken, yes, frame);
    const second = other === undefined ? flow([...no]) : this.#each(other, no, frame);
    out.next.push(...first.next, ...second.next);
    collect(out, first);
    collect(out, second);
    return out;
  }

  #loop(ast: Ast, state: State, frame: Frame): Flow {
    const out = flow();
    let start = [state];
    const initializer = ast.fields['initializer'];
    if (initializer !== undefined) start = this.#each(initializer, start, frame).next;
    const condition = ast.fields['condition'];
    const body = ast.fields['body'];
    let entering = start;
    if (ast.kind !== 'do_statement') {
      const sides = start.map((before) => this.decide(condition, before, frame));
      entering = sides.flatMap(({ yes }) => yes);
      out.next.push(...sides.flatMap(({ no }) => no));
    }
    const inside = body === undefined ? flow(entering) : this.#each(body, entering, frame);
    const ended = [...inside.next, ...inside.continues];
    out.next.push(...ended, ...inside.breaks);
    out.returns.push(...inside.returns);
    out.gotos.push(...inside.gotos);
    return out;
  }

  #switch(ast: Ast, state: State, frame: Frame): Flow {
    const out = flow();
    const list = ast.fields['body']?.children ?? [];
    for (const result of this.evaluate(ast.fields['condition'], state, frame)) {
      let falling: State[] = [];
      let hasDefault = false;
      for (const part of list) {
        if (part.kind !== 'case_statement') continue;
        const value = part.fields['value'];
        if (value === undefined) hasDefault = true;
        else this.observeCase(result.value, part, frame);
        const entered = mergeStates([...falling, result.state.fork()]);
        const step = this.#statements(part.children, value === undefined ? 0 : 1, entered, frame);
        falling = step.next;
        out.next.push(...step.breaks);
        out.returns.push(...step.returns);
        out.gotos.push(...step.gotos);
        out.continues.push(...step.continues);
      }
      out.next.push(...falling);
      if (!hasDefault) out.next.push(result.state);
    }
    return out;
  }

  /** A case on `vm_pgoff` itself compares it with a fixed offset. */
  observeCase(value: Value, part: Ast, frame: Frame): void {
    this.observe('==', value, numberValue(0), frame, part);
  }

  #resume(path: Path, states: State[], frame: Frame): Flow {
    const out = flow();
    let current = states;
    for (let level = path.length - 1; level >= 0; level--) {
      const { list, index } = path[level]!;
      // Of the innermost list the labelled statement itself; further out what follows the block that it is in.
      const step = this.#statements(list, level === path.length - 1 ? index : index + 1, current, frame);
      collect(out, step);
      current = mergeStates([...step.next, ...step.breaks, ...step.continues]);
    }
    out.next.push(...current);
    return out;
  }
}

function collect(out: Flow, step: Flow): void {
  out.breaks.push(...step.breaks);
  out.continues.push(...step.continues);
  out.returns.push(...step.returns);
  out.gotos.push(...step.gotos);
}

function findLabel(list: readonly Ast[], label: string): Path | null {
  for (const [index, ast] of list.entries()) {
    if (ast.kind === 'labeled_statement' && ast.fields['label']?.text === label) return [{ list, index }];
    const inner = findLabel(ast.children, label);
    if (inner !== null) return [{ list, index }, ...inner];
  }
  return null;
}

function statementExpression(ast: Ast): Ast | null {
  const only = ast.children[0];
  const inner = only?.kind === 'parenthesized_expression' ? only.children[0] : undefined;
  return inner?.kind === 'compound_statement' ? inner : null;
}

function declaredName(declarator: Ast): string | null {
  if (declarator.kind === 'identifier') return declarator.text;
  if (!/declarator$/.test(declarator.kind)) return null;
  const inner =
    declarator.fields['declarator'] ??
    declarator.children.find(({ kind }) => /declarator$|identifier/.test(kind));
  return inner === undefined ? null : declaredName(inner);
}

/** What a parameter stands for when nobody calls: the VMA, the fault, or itself. */
export function argumentsOf(unit: FunctionUnit): Value[] {
  return unit.params.map(({ name, type }) => {
    if (/\bvm_area_struct\b/.test(type)) return VMA;
    if (/\bvm_fault\b/.test(type)) return VMF;
    return nameValue(`argument ${name}`);
  });
}
