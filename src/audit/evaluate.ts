/*
 * Expressions: what they are worth on a path, and what they do to it. An expression may split its path in several, where
 * it decides something (`&&`, `?:`) or calls a function that can return in several ways.
 */
import { normalize, truthOf } from './conditions.ts';
import { type Frame, localName, type Observation, type Result, type Zap } from './frame.ts';
import { CHECKED, checkedValue, knownValue, mappedArgument, RANGE_ZAP, VMA_ZAP } from './known-calls.ts';
import type { Ast } from './parser.ts';
import type { Program } from './program.ts';
import { mergeStates, type State } from './state.ts';
import { placeOf } from './tokens.ts';
import type { FunctionUnit } from './units.ts';
import {
  addressValue,
  binaryValue,
  callValue,
  convertValue,
  fieldValue,
  indexValue,
  mentionsPgoff,
  mentionsVma,
  nameValue,
  numberValue,
  PGOFF,
  textValue,
  UNKNOWN,
  unaryValue,
  type Value,
  VMA,
  VMF,
} from './value.ts';

/** Where a state keeps the VMA's operations, and whether another handler has set them. */
export const VM_OPS = 'field:vm_ops(vma:)';
export const VM_OPS_DELEGATED = 'vm_ops were set by another handler';

const VMA_STRUCTURE = /^(const )?struct vm_area_struct$/;
const MAX_DEPTH = 10;
const MOST_STEPS = 50_000;
/** A function this short is looked into even if no VMA is handed to it. */
const SHORT_FUNCTION_TOKENS = 60;
const COMPARISON = /^(<|>|<=|>=|==|!=)$/;

export abstract class Evaluator {
  readonly observations: Observation[] = [];
  readonly zaps: Zap[] = [];
  /** Statements so far, once for each path: what branches at every call cannot be followed to all ends. */
  protected steps: number = 0;
  #isCutShort = false;
  /** A macro of the subsystem that was not at hand was asked for the region. */
  usesOffsetMacro: boolean = false;
  /** Every function that was run. */
  readonly visited: Set<FunctionUnit> = new Set();
  protected readonly program: Program;
  /** Whether a function is a handler of its own, so that calling it is delegation. */
  protected readonly isHandler: (unit: FunctionUnit) => boolean;

  constructor(program: Program, isHandler: (unit: FunctionUnit) => boolean) {
    this.program = program;
    this.isHandler = isHandler;
  }

  /** Whether some call was not followed because there were too many. */
  get isCutShort(): boolean {
    return this.#isCutShort;
  }

  abstract run(unit: FunctionUnit, args: readonly Value[], state: State, caller: Frame | null): Result[];

  /** A statement expression, `({ … })`: its last expression is its value. */
  abstract evaluateBlock(ast: Ast, state: State, frame: Frame): Result[];

  evaluate(ast: Ast | undefined, state: State, frame: Frame): Result[] {
    if (ast === undefined) return [{ state, value: UNKNOWN }];
    switch (ast.kind) {
      case 'parenthesized_expression':
      case 'expression_statement':
        return ast.children[0]?.kind === 'compound_statement'
          ? this.evaluateBlock(ast.children[0], state, frame)
          : this.evaluate(ast.children[0], state, frame);
      case 'compound_literal_expression':
        return this.literal(ast, state, frame);
      case 'number_literal':
        return [{ state, value: parseNumber(ast.text) }];
      case 'char_literal':
      case 'string_literal':
      case 'concatenated_string':
        return [{ state, value: textValue(ast.text) }];
      case 'true':
        return [{ state, value: numberValue(1) }];
      case 'false':
      case 'null':
        return [{ state, value: numberValue(0) }];
      case 'identifier':
        return [{ state, value: this.#variable(ast.text, state, frame) }];
      case 'field_expression':
      case 'subscript_expression':
        return this.place(ast, state, frame).map(({ state: after, value }) => ({
          state: after,
          value: this.read(value, after),
        }));
      case 'pointer_expression': {
        if (ast.operator === '&') {
          return this.place(ast.fields['argument'], state, frame).map((of) => ({
            state: of.state,
            value: addressValue(of.value),
          }));
        }
        return this.place(ast, state, frame).map((of) => ({
          state: of.state,
          value: this.read(of.value, of.state),
        }));
      }
      case 'cast_expression': {
        const type = ast.fields['type']?.text ?? '';
        return this.evaluate(ast.fields['value'], state, frame).map((of) => ({
          state: of.state,
          value: convertValue(of.value, type),
        }));
      }
      case 'unary_expression': {
        if (ast.operator === '!') return this.#asNumber(ast, state, frame);
        return this.evaluate(ast.fields['argument'], state, frame).map((of) => ({
          state: of.state,
          value: unaryValue(ast.operator, of.value),
        }));
      }
      case 'binary_expression':
        return this.#binary(ast, state, frame);
      case 'assignment_expression':
        return this.#assign(ast, state, frame);
      case 'update_expression':
        return this.place(ast.fields['argument'], state, frame).flatMap((of) => {
          const operator = ast.text.includes('++') ? '+' : '-';
          const value = binaryValue(operator, this.read(of.value, of.state), numberValue(1));
          this.write(of.value, value, of.state, frame, ast);
          return [{ state: of.state, value }];
        });
      case 'conditional_expression': {
        const { yes, no } = this.decide(ast.fields['condition'], state, frame);
        return [
          ...yes.flatMap((taken) => this.evaluate(ast.fields['consequence'], taken, frame)),
          ...no.flatMap((taken) => this.evaluate(ast.fields['alternative'], taken, frame)),
        ];
      }
      case 'comma_expression':
        return this.evaluate(ast.fields['left'] ?? ast.children[0], state, frame).flatMap((of) =>
          this.evaluate(ast.fields['right'] ?? ast.children[1], of.state, frame),
        );
      case 'call_expression':
        return this.#call(ast, state, frame);
      case 'sizeof_expression':
        return [{ state, value: nameValue(ast.text) }];
      default:
        return [{ state, value: UNKNOWN }];
    }
  }

  /** Splits a path by a condition. */
  decide(ast: Ast | undefined, state: State, frame: Frame): { yes: State[]; no: State[] } {
    if (ast === undefined) return { yes: [state], no: [] };
    if (ast.kind === 'parenthesized_expression' && ast.children[0]?.kind !== 'compound_statement') {
      return this.decide(ast.children[0], state, frame);
    }
    if (ast.kind === 'unary_expression' && ast.operator === '!') {
      const { yes, no } = this.decide(ast.fields['argument'], state, frame);
      return { yes: no, no: yes };
    }
    if (
      ast.kind === 'call_expression' &&
      /^(un)?likely$|^WARN_ON(_ONCE)?$/.test(ast.fields['function']!.text)
    ) {
      return this.decide(ast.fields['arguments']?.children[0], state, frame);
    }
    if (ast.operator === '&&' || ast.operator === '||') {
      const first = this.decide(ast.fields['left'], state, frame);
      const open = ast.operator === '&&' ? first.yes : first.no;
      const second = open.map((taken) => this.decide(ast.fields['right'], taken, frame));
      const yes = second.flatMap((side) => side.yes);
      const no = second.flatMap((side) => side.no);
      return ast.operator === '&&'
        ? { yes: mergeStates(yes), no: mergeStates([...first.no, ...no]) }
        : { yes: mergeStates([...first.yes, ...yes]), no: mergeStates(no) };
    }
    const yes: State[] = [];
    const no: State[] = [];
    for (const result of this.evaluate(ast, state, frame)) {
      const { value, negated } = normalize(result.value);
      const known = truthOf(value, result.state.facts);
      if (known !== null) {
        (known !== negated ? yes : no).push(result.state);
        continue;
      }
      const other = result.state.fork();
      if (!value.key.includes('?')) {
        const placed = { ...value, place: placeOf(ast.token) };
        result.state.facts.set(value.key, { value: placed, truth: !negated });
        other.facts.set(value.key, { value: placed, truth: negated });
      }
      yes.push(result.state);
      no.push(other);
    }
    return { yes, no };
  }

  /** The place that an expression names, as the value that it has before anybody wrote there. */
  place(ast: Ast | undefined, state: State, frame: Frame): Result[] {
    if (ast === undefined) return [{ state, value: UNKNOWN }];
    switch (ast.kind) {
      case 'parenthesized_expression':
        return this.place(ast.children[0], state, frame);
      case 'identifier':
        return [{ state, value: this.#variablePlace(ast.text, frame) }];
      case 'field_expression': {
        const name = ast.fields['field']?.text ?? '';
        return this.evaluate(ast.fields['argument'], state, frame).map((of) => ({
          state: of.state,
          value: fieldPlace(this.#pointee(of.value, of.state), name),
        }));
      }
      case 'subscript_expression': {
        const index = ast.fields['index'] ?? ast.children[1];
        return this.evaluate(ast.fields['argument'], state, frame).flatMap((of) =>
          this.evaluate(index, of.state, frame).map((at) => ({
            state: at.state,
            value: indexValue(this.#pointee(of.value, of.state), at.value),
          })),
        );
      }
      case 'pointer_expression':
        return this.evaluate(ast.fields['argument'], state, frame).map((of) => ({
          state: of.state,
          value:
            of.value.op === 'address'
              ? of.value.args[0]!
              : of.value.op === 'vma'
                ? of.value
                : unaryValue('*', of.value),
        }));
      case 'cast_expression':
        return this.place(ast.fields['value'], state, frame);
      default:
        return this.evaluate(ast, state, frame);
    }
  }

  /** What a place holds now. */
  read(place: Value, state: State): Value {
    if (place.op === 'pgoff') return state.pgoff;
    if (place.op === 'name' && place.name.startsWith('local ')) {
      return state.variables.get(place.name) ?? place;
    }
    return state.memory.get(place.key) ?? place;
  }

  write(place: Value, value: Value, state: State, frame: Frame, ast: Ast): void {
    if (place.op === 'pgoff') {
      state.pgoff = value;
      state.write = { unit: frame.unit, expression: ast, place: placeOf(ast.token), value };
    } else if (place.op === 'vma') {
      // The whole structure: a copy that was changed comes back.
      if (value.op !== 'vma')
        this.write(PGOFF, this.read(fieldValue(value, 'vm_pgoff'), state), state, frame, ast);
    } else if (place.op === 'name' && place.name.startsWith('local ')) {
      const type = frame.types.get(place.name);
      if (value.op === 'vma' && type !== undefined && VMA_STRUCTURE.test(type)) {
        state.variables.delete(place.name);
        state.memory.set(fieldValue(place, 'vm_pgoff').key, state.pgoff);
      } else state.variables.set(place.name, type === undefined ? value : convertValue(value, type));
    } else if (place.op !== 'unknown') {
      state.memory.set(place.key, value);
      if (place.key === VM_OPS)
        state.memory.set(VM_OPS_DELEGATED, numberValue(this.#inDelegate(frame) ? 1 : 0));
    }
  }

  /** Makes a variable of a frame and gives it a value. */
  declare(name: string, type: string, value: Value | null, state: State, frame: Frame): void {
    const key = localName(name, frame);
    frame.types.set(key, type);
    if (value === null) state.variables.delete(key);
    else if (value.op === 'vma' && VMA_STRUCTURE.test(type)) {
      state.variables.delete(key);
      state.memory.set(fieldValue(nameValue(key), 'vm_pgoff').key, state.pgoff);
    } else state.variables.set(key, convertValue(value, type));
  }

  /** The fields that an initializer names, as places of `name`. */
  protected initialize(name: string, list: Ast | undefined, state: State, frame: Frame): State[] {
    let states = [state];
    for (const pair of list?.children ?? []) {
      const field = pair.children.find(({ kind }) => kind === 'field_designator')?.children[0]?.text;
      if (field === undefined) continue;
      states = states.flatMap((before) =>
        this.evaluate(pair.fields['value'], before, frame).map((result) => {
          result.state.memory.set(fieldValue(nameValue(name), field).key, result.value);
          return result.state;
        }),
      );
    }
    return states;
  }

  protected literal(ast: Ast, state: State, frame: Frame): Result[] {
    const name = localName(`literal ${ast.token.at}`, frame);
    return this.initialize(name, ast.fields['value'], state, frame).map((after) => ({
      state: after,
      value: nameValue(name),
    }));
  }

  #variablePlace(name: string, frame: Frame): Value {
    const key = localName(name, frame);
    return nameValue(frame.types.has(key) ? key : name);
  }

  #variable(name: string, state: State, frame: Frame): Value {
    if (/^(NULL|false|VM_FAULT_NONE)$/.test(name)) return numberValue(0);
    if (name === 'true') return numberValue(1);
    return this.read(this.#variablePlace(name, frame), state);
  }

  /** What a pointer points to, as far as it is known; a structure stands for itself. */
  #pointee(value: Value, state: State): Value {
    return value.op === 'address' ? this.read(value.args[0]!, state) : value;
  }

  #asNumber(ast: Ast, state: State, frame: Frame): Result[] {
    const { yes, no } = this.decide(ast, state, frame);
    return [
      ...yes.map((taken) => ({ state: taken, value: numberValue(1) })),
      ...no.map((taken) => ({ state: taken, value: numberValue(0) })),
    ];
  }

  #binary(ast: Ast, state: State, frame: Frame): Result[] {
    if (ast.operator === '&&' || ast.operator === '||') return this.#asNumber(ast, state, frame);
    return this.evaluate(ast.fields['left'], state, frame).flatMap((left) =>
      this.evaluate(ast.fields['right'], left.state, frame).map((right) => {
        this.observe(ast.operator, left.value, right.value, frame, ast);
        return { state: right.state, value: binaryValue(ast.operator, left.value, right.value) };
      }),
    );
  }

  protected observe(operator: string, left: Value, right: Value, frame: Frame, ast: Ast): void {
    if (!mentionsPgoff(left) && !mentionsPgoff(right)) return;
    if (!/^(>>|\/|%|&|<<|-)$/.test(operator) && !COMPARISON.test(operator)) return;
    const { macro } = ast.last;
    this.observations.push({
      operator,
      left,
      right,
      frame,
      place: placeOf(ast.token),
      macro: macro?.name ?? '',
      macroFile: macro?.file.path ?? '',
    });
  }

  #assign(ast: Ast, state: State, frame: Frame): Result[] {
    return this.evaluate(ast.fields['right'], state, frame).flatMap((right) =>
      this.place(ast.fields['left'], right.state, frame).map((left) => {
        let value = right.value;
        if (ast.operator !== '=') {
          const operator = ast.operator.slice(0, -1);
          const before = this.read(left.value, left.state);
          this.observe(operator, before, value, frame, ast);
          value = binaryValue(operator, before, value);
        }
        this.write(left.value, value, left.state, frame, ast);
        return { state: left.state, value: this.read(left.value, left.state) };
      }),
    );
  }

  #call(ast: Ast, state: State, frame: Frame): Result[] {
    const target = ast.fields['function'];
    if (target?.text === 'WRITE_ONCE' || target?.text === 'rcu_assign_pointer') {
      const [left, right] = ast.fields['arguments']?.children ?? [];
      return this.evaluate(right, state, frame).flatMap((of) =>
        this.place(left, of.state, frame).map((to) => {
          this.write(to.value, of.value, to.state, frame, ast);
          return { state: to.state, value: of.value };
        }),
      );
    }
    let results: { state: State; args: Value[] }[] = [{ state, args: [] }];
    for (const argument of ast.fields['arguments']?.children ?? []) {
      results = results.flatMap((before) =>
        this.evaluate(argument, before.state, frame).map((of) => ({
          state: of.state,
          args: [...before.args, of.value],
        })),
      );
    }
    return results.flatMap(({ state: after, args }) => this.#apply(ast, target, args, after, frame));
  }

  #apply(ast: Ast, target: Ast | undefined, args: Value[], state: State, frame: Frame): Result[] {
    if (target === undefined) return [{ state, value: UNKNOWN }];
    if (target.kind === 'parenthesized_expression' || target.kind === 'pointer_expression') {
      return this.#apply(ast, target.children[0], args, state, frame);
    }
    if (target.kind === 'identifier') {
      const value = this.#variable(target.text, state, frame);
      const name =
        value.op === 'address' ? value.args[0]!.name : value.op === 'name' ? value.name : target.text;
      return this.#named(ast, name, args, state, frame);
    }
    return this.evaluate(target, state, frame).flatMap((of) => {
      const pointed = of.value.op === 'address' ? of.value.args[0]! : of.value;
      if (pointed.op === 'name') return this.#named(ast, pointed.name, args, of.state, frame);
      return this.#throughField(ast, target, args, of.state, frame);
    });
  }

  /** A call through a pointer in a structure or an array: whatever was ever stored there may be called. */
  #throughField(ast: Ast, target: Ast, args: Value[], state: State, frame: Frame): Result[] {
    const text = target.kind === 'subscript_expression' ? target.fields['argument'] : target;
    const name = text?.fields['field']?.text ?? text?.text ?? '';
    const value = callValue(`->${name}`, args);
    if (!args.some(mentionsVma)) return [{ state, value }];
    if (name === 'mmap') {
      state.delegations = [...state.delegations, { name, place: placeOf(ast.token) }];
      return [{ state, value }];
    }
    const words =
      target.kind === 'subscript_expression' && text?.kind === 'identifier'
        ? this.#arrayElements(text.text, frame)
        : this.program
            .fieldValues(name)
            .filter(({ token }) => folder(token.file.path) === folder(frame.unit.file.path))
            .flatMap((given) => given.value.filter(({ kind }) => kind === 'word').map((word) => word.text));
    const units = [...new Set(words)].flatMap((word) =>
      this.program.functionsNamed(word, frame.unit.file.path),
    );
    if (units.length === 0) return [{ state, value }];
    return units.flatMap((unit) => this.#enter(unit, args, state.fork(), frame, value));
  }

  #arrayElements(name: string, frame: Frame): string[] {
    const tokens = this.program.files.get(frame.unit.file.path)?.preprocessed.tokens ?? [];
    const at = tokens.findIndex(
      ({ text }, index) => text === name && /[[)]/.test(tokens[index + 1]?.text ?? ''),
    );
    const end = tokens.findIndex(({ text }, index) => index > at && text === ';');
    return at === -1
      ? []
      : tokens
          .slice(at, end)
          .filter(({ kind }) => kind === 'word')
          .map(({ text }) => text);
  }

  #named(ast: Ast, name: string, args: Value[], state: State, frame: Frame): Result[] {
    const place = placeOf(ast.token);
    const simple = knownValue(name, args);
    if (simple !== null) return [{ state, value: simple }];
    const checked = CHECKED[name];
    if (checked !== undefined) {
      const target = args[2]?.op === 'address' ? args[2].args[0]! : UNKNOWN;
      this.write(target, checkedValue(checked, args[0] ?? UNKNOWN, args[1] ?? UNKNOWN), state, frame, ast);
      return [{ state, value: callValue(name, args.slice(0, 2)) }];
    }
    if (/^(__)?(builtin_)?mem(cpy|move)$/.test(name)) {
      const to = args[0]?.op === 'address' ? args[0].args[0]! : (args[0] ?? UNKNOWN);
      const from = args[1]?.op === 'address' ? this.read(args[1].args[0]!, state) : (args[1] ?? UNKNOWN);
      this.write(to, from, state, frame, ast);
      return [{ state, value: UNKNOWN }];
    }
    if (name === 'swap') return this.#swap(ast, state, frame);
    if (RANGE_ZAP.test(name) || VMA_ZAP.test(name)) {
      this.zaps.push({ name, args, frame, place });
      return [{ state, value: UNKNOWN }];
    }
    const value = callValue(name, args);
    if (/OFFSET_TO_INDEX/.test(name) && args.some(mentionsPgoff)) this.usesOffsetMacro = true;
    const mapped = mappedArgument(name);
    if (mapped !== null) {
      const pages = args[mapped] ?? UNKNOWN;
      const isDelegated = this.#inDelegate(frame);
      state.mappings = [...state.mappings, { name, pages, result: value, place, isDelegated }];
      return [{ state, value }];
    }
    if (/(^|_)set_(vm_)?pgoff$/.test(name) && args[0]?.op === 'vma') {
      const found = this.program.functionsNamed(name, frame.unit.file.path);
      if (found.length === 0) {
        this.write(PGOFF, args[1] ?? UNKNOWN, state, frame, ast);
        return [{ state, value: UNKNOWN }];
      }
    }
    const units = this.program.functionsNamed(name, frame.unit.file.path);
    const isWorth = units.some(
      (unit) =>
        args.some((arg) => mentionsVma(arg) || arg.op === 'address') ||
        unit.body.length <= SHORT_FUNCTION_TOKENS,
    );
    if (!isWorth) {
      if (units.length === 0 && /_mmap$/.test(name) && args.some(({ op }) => op === 'vma')) {
        state.delegations = [...state.delegations, { name, place }];
      }
      this.#forgetOutputs(name, args, state);
      return [{ state, value }];
    }
    return units.flatMap((unit, index) =>
      this.#enter(unit, args, index === units.length - 1 ? state : state.fork(), frame, value),
    );
  }

  #enter(unit: FunctionUnit, args: readonly Value[], state: State, frame: Frame, otherwise: Value): Result[] {
    for (let above: Frame | null = frame, depth = 0; above !== null; above = above.caller, depth++) {
      if (above.unit === unit || depth > MAX_DEPTH) return [{ state, value: otherwise }];
    }
    if (this.steps > MOST_STEPS) {
      this.#isCutShort = true;
      return [{ state, value: otherwise }];
    }
    const results = this.run(unit, args, state, frame);
    // What cannot be followed to an end (it was beyond the grammar) is a call like any other.
    if (results.length === 0) return [{ state, value: otherwise }];
    return results.map((result) =>
      result.value.op === 'unknown' ? { state: result.state, value: otherwise } : result,
    );
  }

  /** A function that we do not see into may have filled what it was given the address of. */
  #forgetOutputs(name: string, args: readonly Value[], state: State): void {
    for (const arg of args) {
      const target = arg.op === 'address' ? arg.args[0]! : null;
      if (target?.op === 'name' && target.name.startsWith('local ')) {
        const others = args.filter((other) => other !== arg);
        state.variables.set(target.name, callValue(`${name} result`, others));
      }
    }
  }

  #swap(ast: Ast, state: State, frame: Frame): Result[] {
    const [first, second] = ast.fields['arguments']?.children ?? [];
    return this.place(first, state, frame).flatMap((left) =>
      this.place(second, left.state, frame).map((right) => {
        const a = this.read(left.value, right.state);
        const b = this.read(right.value, right.state);
        this.write(left.value, b, right.state, frame, ast);
        this.write(right.value, a, right.state, frame, ast);
        return { state: right.state, value: UNKNOWN };
      }),
    );
  }

  #inDelegate(frame: Frame): boolean {
    for (let above: Frame | null = frame; above?.caller != null; above = above.caller) {
      if (this.isHandler(above.unit)) return true;
    }
    return false;
  }
}

const folder = (path: string): string => path.slice(0, path.lastIndexOf('/') + 1);

function fieldPlace(of: Value, name: string): Value {
  if (of.op === 'vma' && name === 'vm_pgoff') return PGOFF;
  if (of.op === 'vmf' && name === 'vma') return VMA;
  if (of.op === 'vmf' && name === 'pgoff') {
    return binaryValue('+', PGOFF, callValue('fault_delta', [VMF]));
  }
  return fieldValue(of, name);
}

function parseNumber(text: string): Value {
  const digits = text.replace(/[uUlL]+$/, '');
  const number = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  return Number.isFinite(number) ? numberValue(number) : nameValue(text);
}
