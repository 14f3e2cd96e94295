/**
 * Reads RE2 syntax (github.com/google/re2/wiki/Syntax): what needs backtracking, which is back references and looking
 * around, is refused, as RE2 does. Captures and laziness are read and change nothing: only whether a text matches is
 * ever asked.
 */
import { HeddleError } from '../errors.ts';
import { between, ESCAPED, inAnyCase, inverted, NAMED, oneOf, unicodeClass } from './classes.ts';
import type { Assertion, CodeTest, Flags, Node } from './syntax.ts';

const MAX_REPEAT = 1000;
const MAX_DEPTH = 200;

const NO_FLAGS: Flags = { anyCase: false, dotAll: false, lines: false };

interface Reader {
  readonly source: string;
  /** Code points. */
  readonly text: readonly string[];
  at: number;
  depth: number;
}

/** @throws HeddleError `BadRegex` */
export function parseRegex(source: string): Node {
  const reader: Reader = { source, text: Array.from(source), at: 0, depth: 0 };
  const node = readChoice(reader, { ...NO_FLAGS });
  if (reader.at < reader.text.length) throw bad(reader, 'has a ) that closes nothing');
  return node;
}

function bad({ source, at }: Reader, what: string): HeddleError {
  const shown = source.length > 80 ? `${source.slice(0, 80)}…` : source;
  return new HeddleError('BadRegex', `the regular expression "${shown}" ${what} (at character ${at + 1})`, {
    hint: 'Expressions are of RE2 syntax: no back references, no looking ahead or behind.',
  });
}

const peek = ({ text, at }: Reader, ahead = 0): string => text[at + ahead] ?? '';

function take(reader: Reader, wanted: string): boolean {
  for (const [i, each] of Array.from(wanted).entries()) if (peek(reader, i) !== each) return false;
  reader.at += wanted.length;
  return true;
}

/** Flags that are set inside hold up to the end of the group. */
type Scope = { -readonly [K in keyof Flags]: Flags[K] };

function readChoice(reader: Reader, flags: Scope): Node {
  if (++reader.depth > MAX_DEPTH) throw bad(reader, `is nested more than ${MAX_DEPTH} deep`);
  const items: Node[] = [readSequence(reader, flags)];
  while (take(reader, '|')) items.push(readSequence(reader, flags));
  reader.depth--;
  return items.length === 1 ? items[0]! : { type: 'choice', items };
}

function readSequence(reader: Reader, flags: Scope): Node {
  const items: Node[] = [];
  while (reader.at < reader.text.length && peek(reader) !== '|' && peek(reader) !== ')') {
    if (take(reader, '\\Q')) {
      const quoted = readQuoted(reader, flags);
      const last = quoted.pop();
      items.push(...quoted, ...(last ? [readRepeats(reader, last)] : []));
      continue;
    }
    const item = readItem(reader, flags);
    items.push(item ? readRepeats(reader, item) : { type: 'empty' });
  }
  return items.length === 1 ? items[0]! : { type: 'sequence', items };
}

function readQuoted(reader: Reader, flags: Flags): Node[] {
  const items: Node[] = [];
  while (reader.at < reader.text.length && !take(reader, '\\E')) items.push(literal(next(reader), flags));
  return items;
}

const next = (reader: Reader): string => reader.text[reader.at++]!;

const literal = (char: string, flags: Flags): Node => {
  const code = char.codePointAt(0)!;
  return classNode(between(code, code), flags);
};

const classNode = (holds: CodeTest, { anyCase }: Flags): Node => ({
  type: 'class',
  holds: anyCase ? inAnyCase(holds) : holds,
});

const assertion = (what: Assertion): Node => ({ type: 'assert', what });

/** Undefined: flags were set. */
function readItem(reader: Reader, flags: Scope): Node | undefined {
  const char = next(reader);
  switch (char) {
    case '(':
      return readGroup(reader, flags);
    case '[':
      return classNode(readClass(reader), flags);
    case '.':
      return classNode(flags.dotAll ? () => true : (code) => code !== 10, NO_FLAGS);
    case '^':
      return assertion(flags.lines ? 'line-start' : 'text-start');
    case '$':
      return assertion(flags.lines ? 'line-end' : 'text-end');
    case '*':
    case '+':
    case '?':
      throw bad(reader, `has nothing before ${char} to repeat`);
    case '\\':
      return readEscape(reader, flags);
    default:
      return literal(char, flags);
  }
}

const ASSERTIONS: Readonly<Record<string, Assertion>> = {
  A: 'text-start',
  z: 'text-end',
  b: 'word-boundary',
  B: 'no-word-boundary',
};

function readEscape(reader: Reader, flags: Flags): Node {
  const what = ASSERTIONS[peek(reader)];
  if (what) {
    reader.at++;
    return assertion(what);
  }
  const test = readEscapedClass(reader);
  if (test) return classNode(test, flags);
  const code = readEscapedCode(reader);
  return classNode(between(code, code), flags);
}

/** `\d`, `\pL`, `\P{Greek}`; undefined if it is no class. */
function readEscapedClass(reader: Reader): CodeTest | undefined {
  const char = peek(reader);
  if (Object.hasOwn(ESCAPED, char)) {
    reader.at++;
    return ESCAPED[char];
  }
  if (char !== 'p' && char !== 'P') return undefined;
  reader.at++;
  let name = next(reader) ?? '';
  if (name === '{') name = readUntil(reader, '}');
  const isInverted = (char === 'P') !== name.startsWith('^');
  const test = unicodeClass(name.replace(/^\^/, ''));
  if (!test) throw bad(reader, `names the class "${name}", which is not known`);
  return isInverted ? inverted(test) : test;
}

const CONTROLS: Readonly<Record<string, number>> = { a: 7, f: 12, t: 9, n: 10, r: 13, v: 11 };

function readEscapedCode(reader: Reader): number {
  if (reader.at >= reader.text.length) throw bad(reader, 'ends with a backslash');
  const char = next(reader);
  if (Object.hasOwn(CONTROLS, char)) return CONTROLS[char]!;
  if (char === 'x') return readHex(reader);
  if (char === '0') return readOctal(reader);
  if (/[0-9]/.test(char)) throw bad(reader, 'has a back reference');
  if (/[A-Za-z]/.test(char)) throw bad(reader, `has the unknown escape \\${char}`);
  return char.codePointAt(0)!;
}

function readHex(reader: Reader): number {
  const digits = take(reader, '{') ? readUntil(reader, '}') : peek(reader) + peek(reader, 1);
  if (reader.text[reader.at - 1] !== '}') reader.at += 2;
  const code = /^[0-9A-Fa-f]{1,6}$/.test(digits) ? Number.parseInt(digits, 16) : Number.NaN;
  if (code <= 0x10ffff) return code;
  throw bad(reader, `has \\x without a code point in hexadecimal`);
}

function readOctal(reader: Reader): number {
  let code = 0;
  for (let i = 0; i < 2 && /[0-7]/.test(peek(reader)); i++) code = code * 8 + Number(next(reader));
  return code;
}

function readUntil(reader: Reader, end: string): string {
  const at = reader.text.indexOf(end, reader.at);
  if (at < 0) throw bad(reader, `lacks a ${end}`);
  const text = reader.text.slice(reader.at, at).join('');
  reader.at = at + 1;
  return text;
}

function readGroup(reader: Reader, flags: Scope): Node | undefined {
  if (!take(reader, '?')) return closed(reader, { ...flags });
  if (take(reader, 'P<') || (peek(reader) === '<' && !'=!'.includes(peek(reader, 1)) && take(reader, '<'))) {
    const name = readUntil(reader, '>');
    if (!/^\w+$/.test(name)) throw bad(reader, `has a group of the name "${name}"`);
    return closed(reader, { ...flags });
  }
  const inside = { ...flags };
  let value = true;
  for (;;) {
    const char = reader.at < reader.text.length ? next(reader) : '';
    if (char === ':') return closed(reader, inside);
    if (char === ')') {
      Object.assign(flags, inside);
      return undefined;
    }
    if (char === '-' && value) value = false;
    else if (char === 'i') inside.anyCase = value;
    else if (char === 's') inside.dotAll = value;
    else if (char === 'm') inside.lines = value;
    else if (char !== 'U') throw bad(reader, `has a group of the kind (?${char}, which is not known`);
  }
}

function closed(reader: Reader, flags: Scope): Node {
  const node = readChoice(reader, flags);
  if (!take(reader, ')')) throw bad(reader, 'lacks a )');
  return node;
}

function readRepeats(reader: Reader, first: Node): Node {
  let item = first;
  for (let count = 0; ; count++) {
    const range = readRange(reader);
    if (!range) return item;
    // RE2 refuses the second of `**`; one that makes the first lazy has been read with it.
    if (count > 0) throw bad(reader, 'repeats a repetition');
    if (range.max !== null && range.min > range.max) throw bad(reader, 'repeats from more to fewer');
    if (Math.max(range.min, range.max ?? 0) > MAX_REPEAT)
      throw bad(reader, `repeats more than ${MAX_REPEAT} times`);
    item = { type: 'repeat', item, ...range };
  }
}

function readRange(reader: Reader): { min: number; max: number | null } | undefined {
  const range = readPlainRange(reader);
  if (range) take(reader, '?');
  return range;
}

function readPlainRange(reader: Reader): { min: number; max: number | null } | undefined {
  if (take(reader, '*')) return { min: 0, max: null };
  if (take(reader, '+')) return { min: 1, max: null };
  if (take(reader, '?')) return { min: 0, max: 1 };
  if (peek(reader) !== '{') return undefined;
  const counted = /^\{(\d{1,9})(,(\d{0,9}))?\}/.exec(reader.text.slice(reader.at, reader.at + 24).join(''));
  // RE2: what is no counted repetition is a brace.
  if (!counted) return undefined;
  reader.at += counted[0].length;
  const min = Number(counted[1]);
  if (counted[2] === undefined) return { min, max: min };
  return { min, max: counted[3] === '' ? null : Number(counted[3]) };
}

function readClass(reader: Reader): CodeTest {
  const isInverted = take(reader, '^');
  const tests: CodeTest[] = [];
  for (let isFirst = true; isFirst || peek(reader) !== ']'; isFirst = false) {
    if (reader.at >= reader.text.length) throw bad(reader, 'lacks a ]');
    tests.push(readClassItem(reader));
  }
  reader.at++;
  return isInverted ? inverted(oneOf(tests)) : oneOf(tests);
}

function readClassItem(reader: Reader): CodeTest {
  if (take(reader, '[:')) {
    const text = readUntil(reader, ']');
    const name = text.replace(/^\^/, '').replace(/:$/, '');
    const test = text.endsWith(':') && Object.hasOwn(NAMED, name) ? NAMED[name] : undefined;
    if (!test) throw bad(reader, `names the class "${name}", which is not known`);
    return text.startsWith('^') ? inverted(test) : test;
  }
  if (peek(reader) === '\\') {
    reader.at++;
    const test = readEscapedClass(reader);
    if (test) return test;
    reader.at--;
  }
  const first = readClassCode(reader);
  if (peek(reader) !== '-' || peek(reader, 1) === ']') return between(first, first);
  reader.at++;
  const last = readClassCode(reader);
  if (last < first) throw bad(reader, 'has a range backwards');
  return between(first, last);
}

function readClassCode(reader: Reader): number {
  if (reader.at >= reader.text.length) throw bad(reader, 'lacks a ]');
  return take(reader, '\\') ? readEscapedCode(reader) : next(reader).codePointAt(0)!;
}
