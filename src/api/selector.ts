/**
 * Selectors over labels, as objects (`matchLabels`, `matchExpressions`) and as text (`app=web,tier in (a,b)`),
 * and over fields. Compiled once into a closure, because policy and lists ask it of thousands of objects.
 */
import { HeddleError } from '../lib/errors.ts';

export type Labels = Readonly<Record<string, string>>;
export type Matcher = (labels: Labels | undefined) => boolean;

/** The object form, as Kubernetes writes it. */
export interface LabelSelector {
  readonly matchLabels?: Labels | undefined;
  readonly matchExpressions?: readonly SelectorExpression[] | undefined;
}
export interface SelectorExpression {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[] | undefined;
}

export const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;

const NONE: Labels = {};
const all: Matcher = () => true;
const none: Matcher = () => false;

/** Label maps come from JSON: `constructor` must not be found on the prototype. */
const valueOf = (labels: Labels, key: string): string | undefined =>
  Object.hasOwn(labels, key) ? labels[key] : undefined;

function expressionMatcher(expression: SelectorExpression): (labels: Labels) => boolean {
  const { key } = expression;
  const values = expression.values ?? [];
  const wanted = values.length === 1 ? values[0] : undefined;
  const set = new Set(values);
  switch (expression.operator) {
    case 'In':
      if (wanted !== undefined) return (labels) => valueOf(labels, key) === wanted;
      return (labels) => set.has(valueOf(labels, key) ?? '') && Object.hasOwn(labels, key);
    case 'NotIn':
      // An object without the key is selected.
      return (labels) => !Object.hasOwn(labels, key) || !set.has(labels[key] ?? '');
    case 'Exists':
      return (labels) => Object.hasOwn(labels, key);
    case 'DoesNotExist':
      return (labels) => !Object.hasOwn(labels, key);
    default:
      // Validation refuses other operators; an object from elsewhere must not select everything.
      return none;
  }
}

function every(tests: ((labels: Labels) => boolean)[]): Matcher {
  if (tests.length === 0) return all;
  const [first] = tests;
  if (tests.length === 1 && first) return (labels) => first(labels ?? NONE);
  return (labels) => {
    const own = labels ?? NONE;
    for (const test of tests) if (!test(own)) return false;
    return true;
  };
}

/** An empty selector selects everything. */
export function compileSelector(selector: LabelSelector): Matcher {
  const exact = Object.entries(selector.matchLabels ?? {}).map(
    ([key, value]) =>
      (labels: Labels) =>
        valueOf(labels, key) === value,
  );
  return every([...exact, ...(selector.matchExpressions ?? []).map(expressionMatcher)]);
}

/** As `compileSelector`; no selector selects nothing. */
export const compileOptionalSelector = (selector: LabelSelector | undefined | null): Matcher =>
  selector ? compileSelector(selector) : none;

/** Of the plain map that a Service has: no map or an empty map selects nothing. */
export function compileServiceSelector(selector: Labels | undefined): Matcher {
  if (!selector || Object.keys(selector).length === 0) return none;
  return compileSelector({ matchLabels: selector });
}

/** The text form that kubectl shows and queries take; `<none>` for the empty selector. */
export function selectorText(selector: LabelSelector | undefined | null): string {
  if (!selector) return '<none>';
  const parts = [
    ...Object.entries(selector.matchLabels ?? {}).map(([k, v]) => `${k}=${v}`),
    ...(selector.matchExpressions ?? []).map(expressionText),
  ];
  return parts.sort().join(',') || '<none>';
}

function expressionText({ key, operator, values }: SelectorExpression): string {
  const list = [...(values ?? [])].sort().join(',');
  if (operator === 'In') return `${key} in (${list})`;
  if (operator === 'NotIn') return `${key} notin (${list})`;
  return operator === 'Exists' ? key : `!${key}`;
}

/** Requirement of a textual selector, in the object form's words. */
export type Requirement = SelectorExpression;

/**
 * Reads `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`, joined by commas.
 * @throws HeddleError `BadSelector`
 */
export function parseSelector(source: string): Requirement[] {
  const tokens = tokenise(source);
  const requirements: Requirement[] = [];
  let at = 0;
  const peek = () => tokens[at]?.text;
  const take = () => tokens[at++]?.text;
  const fail = (expected: string): never => {
    const found = tokens[at];
    throw new HeddleError(
      'BadSelector',
      `selector ${JSON.stringify(source)}: expected ${expected} ${found ? `at column ${found.column}, found "${found.text}"` : 'at its end'}`,
      { hint: 'write it like app=web,tier!=db,zone in (a,b),!canary' },
    );
  };
  const word = (what: string): string => {
    const text = peek();
    if (text === undefined || !isWord(text)) return fail(what);
    at++;
    return text;
  };
  const list = (): string[] => {
    if (take() !== '(') {
      at--;
      fail('"("');
    }
    const values: string[] = [];
    while (peek() !== ')') {
      // `in (a,)` and `in ()` name the empty value.
      values.push(peek() === ',' ? '' : word('a value'));
      if (peek() === ',') {
        at++;
        if (peek() === ')') values.push('');
      } else if (peek() !== ')') fail('"," or ")"');
    }
    at++;
    return values.length === 0 ? [''] : values;
  };
  const requirement = (): Requirement => {
    if (peek() === '!') {
      at++;
      return { key: word('a label key'), operator: 'DoesNotExist' };
    }
    const key = word('a label key');
    const operator = peek();
    if (operator === undefined || operator === ',') return { key, operator: 'Exists' };
    at++;
    if (operator === 'in') return { key, operator: 'In', values: list() };
    if (operator === 'notin') return { key, operator: 'NotIn', values: list() };
    const value = () => (peek() === undefined || peek() === ',' ? '' : word('a value'));
    if (operator === '=' || operator === '==') return { key, operator: 'In', values: [value()] };
    if (operator === '!=') return { key, operator: 'NotIn', values: [value()] };
    at--;
    return fail('one of =, ==, !=, in, notin');
  };
  while (at < tokens.length) {
    requirements.push(requirement());
    if (at < tokens.length && take() !== ',') {
      at--;
      fail('","');
    }
    if (at === tokens.length && tokens.at(-1)?.text === ',') fail('a label key');
  }
  return requirements;
}

const isWord = (text: string): boolean => /^[A-Za-z0-9_./-]/.test(text);

interface Token {
  readonly text: string;
  /** From 1. */
  readonly column: number;
}

function tokenise(source: string): Token[] {
  const tokens: Token[] = [];
  const lexer = /\s+|==|!=|[=!,()]|[A-Za-z0-9_./-]+/gy;
  while (lexer.lastIndex < source.length) {
    const column = lexer.lastIndex + 1;
    const match = lexer.exec(source);
    if (!match)
      throw new HeddleError(
        'BadSelector',
        `selector ${JSON.stringify(source)}: unexpected "${source[column - 1]}" at column ${column}`,
        { hint: 'write it like app=web,tier!=db,zone in (a,b),!canary' },
      );
    if (match[0].trim() !== '') tokens.push({ text: match[0], column });
  }
  return tokens;
}

/** The compiled textual form; empty text selects everything. @throws HeddleError `BadSelector` */
export function compileTextSelector(source: string): Matcher {
  return every(parseSelector(source).map(expressionMatcher));
}

export interface FieldRequirement {
  readonly field: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

/**
 * Reads `metadata.name=a,status.phase!=Running`; `\,`, `\=` and `\\` stand for themselves in a value.
 * @throws HeddleError `BadSelector`
 */
export function parseFieldSelector(source: string): FieldRequirement[] {
  return splitUnescaped(source)
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const match = /^\s*([^=!\s]+)\s*(==|!=|=)(.*)$/s.exec(part);
      if (!match)
        throw new HeddleError(
          'BadSelector',
          `field selector ${JSON.stringify(source)}: "${part}" is not field=value or field!=value`,
          { hint: 'write it like metadata.name=web,status.phase!=Running' },
        );
      const [, field = '', operator, value = ''] = match;
      return { field, operator: operator === '!=' ? '!=' : '=', value: value.replace(/\\([\\,=])/g, '$1') };
    });
}

function splitUnescaped(source: string): string[] {
  return source.match(/(?:\\.|[^,\\]|\\$)+/gs) ?? [];
}

/**
 * Compiled against the fields that a kind lets be selected. @throws HeddleError `BadSelector` for others
 */
export function compileFieldSelector<T>(
  source: string,
  fields: Readonly<Record<string, (obj: T) => string>>,
): (obj: T) => boolean {
  const tests = parseFieldSelector(source).map(({ field, operator, value }) => {
    const read = Object.hasOwn(fields, field) ? fields[field] : undefined;
    if (!read)
      throw new HeddleError('BadSelector', `field label not supported: ${field}`, {
        hint: `this kind can be selected by ${Object.keys(fields).join(', ')}`,
      });
    return operator === '=' ? (obj: T) => read(obj) === value : (obj: T) => read(obj) !== value;
  });
  return (obj) => tests.every((test) => test(obj));
}
