/**
 * Selector expressions of projectcalico.org/v3: read in one pass, every complaint with its column.
 * (Calico API reference, NetworkPolicy, "Selectors".)
 */

export type SelectorExpression =
  | { readonly op: 'all' }
  /** Of namespaces: none at all. Only where a rule selects namespaces, and there alone. */
  | { readonly op: 'global' }
  | { readonly op: 'has'; readonly key: string }
  | { readonly op: Comparison; readonly key: string; readonly value: string }
  | { readonly op: 'in' | 'not in'; readonly key: string; readonly values: readonly string[] }
  | { readonly op: 'not'; readonly of: SelectorExpression }
  | { readonly op: 'and' | 'or'; readonly of: readonly SelectorExpression[] };

type Comparison = '==' | '!=' | 'contains' | 'starts with' | 'ends with';

export type ParsedExpression =
  | { readonly ok: true; readonly expression: SelectorExpression }
  /** `column 7: expected a text in quotes after ==` */
  | { readonly ok: false; readonly message: string };

/** Parentheses within parentheses; written by hand there are three. */
const MAX_DEPTH = 100;

class Complaint extends Error {}

type Token = { readonly type: 'label' | 'text'; readonly value: string } | { readonly type: Sign };
type Sign = '(' | ')' | '{' | '}' | ',' | '!' | '&&' | '||' | 'all()' | 'global()' | 'end' | Operator;
type Operator = Comparison | 'in' | 'not in';
type Placed = Token & { readonly column: number };

const SIGNS = ['(', ')', '{', '}', ',', '==', '!=', '!', '&&', '||'] as const;
/** Words that stand behind a label; the blanks within may be any, or none. */
const WORDS: readonly [pattern: RegExp, operator: Operator][] = [
  [/contains/y, 'contains'],
  [/starts[ \t]*with/y, 'starts with'],
  [/ends[ \t]*with/y, 'ends with'],
  [/not[ \t]*in/y, 'not in'],
  [/in/y, 'in'],
];
const CALLS: readonly [pattern: RegExp, sign: 'all()' | 'global()'][] = [
  [/all\([ \t]*\)/y, 'all()'],
  [/global\([ \t]*\)/y, 'global()'],
];
const BLANKS = /[ \t]*/y;
const LABEL = /[a-zA-Z0-9_./-]+/y;
const HAS = /has\([ \t]*([a-zA-Z0-9_./-]+)[ \t]*\)/y;

/** An empty text selects everything. */
export function parseSelectorExpression(text: string): ParsedExpression {
  try {
    return { ok: true, expression: parse(tokensOf(text)) };
  } catch (error) {
    if (error instanceof Complaint) return { ok: false, message: error.message };
    throw error;
  }
}

function fail(column: number, message: string): never {
  throw new Complaint(`column ${column}: ${message}`);
}

type Item = Placed | { readonly type: 'has'; readonly value: string; readonly column: number };

function tokensOf(text: string): Item[] {
  const tokens: Item[] = [];
  let at = skip(text, 0);
  while (at < text.length) {
    const { token, next } = tokenAt(text, at, tokens.at(-1)?.type === 'label');
    tokens.push({ ...token, column: at + 1 });
    at = skip(text, next);
  }
  tokens.push({ type: 'end', column: text.length + 1 });
  return tokens;
}

function skip(text: string, at: number): number {
  BLANKS.lastIndex = at;
  BLANKS.exec(text);
  return BLANKS.lastIndex;
}

type Read = {
  readonly token: Token | { readonly type: 'has'; readonly value: string };
  readonly next: number;
};

function tokenAt(text: string, at: number, afterLabel: boolean): Read {
  const quote = text[at];
  if (quote === '"' || quote === "'") {
    const end = text.indexOf(quote, at + 1);
    if (end < 0) fail(at + 1, `the text that begins here has no closing ${quote}`);
    return { token: { type: 'text', value: text.slice(at + 1, end) }, next: end + 1 };
  }
  const sign = SIGNS.find((each) => text.startsWith(each, at));
  if (sign !== undefined) return { token: { type: sign }, next: at + sign.length };
  if (quote === '=') fail(at + 1, 'expected ==');
  if (quote === '&' || quote === '|') fail(at + 1, `expected ${quote}${quote}`);
  return afterLabel ? operatorAt(text, at) : wordAt(text, at);
}

function operatorAt(text: string, at: number): Read {
  for (const [pattern, operator] of WORDS) {
    pattern.lastIndex = at;
    if (pattern.test(text)) return { token: { type: operator }, next: pattern.lastIndex };
  }
  return fail(at + 1, 'expected ==, !=, in, not in, contains, starts with or ends with after the label');
}

function wordAt(text: string, at: number): Read {
  for (const [pattern, sign] of CALLS) {
    pattern.lastIndex = at;
    if (pattern.test(text)) return { token: { type: sign }, next: pattern.lastIndex };
  }
  HAS.lastIndex = at;
  const has = HAS.exec(text);
  if (has) return { token: { type: 'has', value: has[1] ?? '' }, next: HAS.lastIndex };
  for (const name of ['has', 'all', 'global'])
    if (text.startsWith(`${name}(`, at))
      fail(at + 1, name === 'has' ? 'expected has(label)' : `expected ${name}()`);
  LABEL.lastIndex = at;
  const label = LABEL.exec(text)?.[0];
  if (label === undefined)
    fail(at + 1, `${JSON.stringify(String.fromCodePoint(text.codePointAt(at) ?? 0))} was not expected`);
  return { token: { type: 'label', value: label }, next: LABEL.lastIndex };
}

function parse(tokens: readonly Item[]): SelectorExpression {
  let at = 0;
  const peek = (): Item => tokens[at]!;
  const take = (): Item => tokens[at++]!;

  function chain(sign: '&&' | '||', part: () => SelectorExpression): SelectorExpression {
    const parts = [part()];
    while (peek().type === sign) {
      take();
      parts.push(part());
    }
    return parts.length === 1 ? parts[0]! : { op: sign === '&&' ? 'and' : 'or', of: parts };
  }
  const either = (depth: number): SelectorExpression => chain('||', () => chain('&&', () => one(depth)));

  function one(depth: number): SelectorExpression {
    let negated = false;
    while (peek().type === '!') {
      take();
      negated = !negated;
    }
    const found = operand(depth);
    return negated ? { op: 'not', of: found } : found;
  }

  function operand(depth: number): SelectorExpression {
    const token = take();
    if (token.type === 'all()') return { op: 'all' };
    if (token.type === 'global()') return { op: 'global' };
    if (token.type === 'has') return { op: 'has', key: token.value };
    if (token.type === 'label') return comparison(token.value);
    if (token.type !== '(') return unexpected(token, 'a label, has(), all(), ! or a parenthesis');
    if (depth >= MAX_DEPTH) fail(token.column, `more than ${MAX_DEPTH} parentheses within each other`);
    const inner = either(depth + 1);
    if (peek().type !== ')') unexpected(peek(), '&&, || or )');
    take();
    return inner;
  }

  function comparison(key: string): SelectorExpression {
    const { type, column } = take();
    switch (type) {
      case '==':
      case '!=':
      case 'contains':
      case 'starts with':
      case 'ends with':
        return { op: type, key, value: textAfter(type) };
      case 'in':
      case 'not in':
        return { op: type, key, values: set(type) };
      default:
        return fail(column, `expected ==, !=, in, not in, contains, starts with or ends with after "${key}"`);
    }
  }

  function textAfter(what: string): string {
    const token = take();
    return token.type === 'text' ? token.value : unexpected(token, `a text in quotes after ${what}`);
  }

  /** `{"a", "b"}`; a last comma is allowed, and so is none in it. */
  function set(what: string): string[] {
    const open = take();
    if (open.type !== '{') unexpected(open, `a set, {"a", "b"}, after ${what}`);
    const values: string[] = [];
    while (peek().type === 'text') {
      values.push(textAfter('{'));
      if (peek().type !== ',') break;
      take();
    }
    const close = take();
    return close.type === '}' ? values : unexpected(close, 'a text in quotes, a comma or }');
  }

  if (peek().type === 'end') return { op: 'all' };
  const whole = either(0);
  return peek().type === 'end' ? whole : unexpected(peek(), '&& or ||');
}

function unexpected({ column, ...token }: Item, expected: string): never {
  const found =
    token.type === 'end'
      ? 'the end'
      : 'value' in token
        ? `${token.type === 'has' ? 'has' : ''}${JSON.stringify(token.value)}`
        : token.type;
  fail(column, `expected ${expected}, found ${found}`);
}

export function usesGlobal(expression: SelectorExpression): boolean {
  if (expression.op === 'not') return usesGlobal(expression.of);
  if (expression.op === 'and' || expression.op === 'or') return expression.of.some(usesGlobal);
  return expression.op === 'global';
}
