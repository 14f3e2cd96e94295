/** Sets of code points, as classes and escapes name them (RE2 syntax; ASCII where RE2 has it so). */
import type { CodeTest } from './syntax.ts';

const code = (text: string): number => text.codePointAt(0)!;

export const between =
  (first: number, last: number): CodeTest =>
  (each) =>
    first <= each && each <= last;

const ranges = (text: string): CodeTest => {
  const pairs: [number, number][] = [];
  for (let i = 0; i < text.length; i += 2) pairs.push([text.charCodeAt(i), text.charCodeAt(i + 1)]);
  return (each) => pairs.some(([first, last]) => first <= each && each <= last);
};

export const oneOf = (tests: readonly CodeTest[]): CodeTest =>
  tests.length === 1 ? tests[0]! : (each) => tests.some((test) => test(each));

export const inverted =
  (test: CodeTest): CodeTest =>
  (each) =>
    !test(each);

export const isWord = ranges('09AZ__az');

/** After a backslash. */
export const ESCAPED: Readonly<Record<string, CodeTest>> = {
  d: ranges('09'),
  D: inverted(ranges('09')),
  s: ranges('\t\n\f\r  '),
  S: inverted(ranges('\t\n\f\r  ')),
  w: isWord,
  W: inverted(isWord),
};

/** Between `[:` and `:]`. */
export const NAMED: Readonly<Record<string, CodeTest>> = {
  alnum: ranges('09AZaz'),
  alpha: ranges('AZaz'),
  ascii: between(0, 0x7f),
  blank: ranges('\t\t  '),
  cntrl: oneOf([between(0, 0x1f), between(0x7f, 0x7f)]),
  digit: ranges('09'),
  graph: between(code('!'), code('~')),
  lower: ranges('az'),
  print: between(code(' '), code('~')),
  punct: ranges('!/:@[`{~'),
  space: ranges('\t\r  '),
  upper: ranges('AZ'),
  word: isWord,
  xdigit: ranges('09AFaf'),
};

/** Of a general category or a script: `L`, `Lu`, `Greek`; undefined if there is none of this name. */
export function unicodeClass(name: string): CodeTest | undefined {
  if (!/^[A-Za-z_]{1,40}$/.test(name)) return undefined;
  for (const property of [name, `Script=${name}`])
    try {
      // One code point is asked at a time: nothing here can backtrack.
      const pattern = new RegExp(`^\\p{${property}}$`, 'u');
      return (each) => each <= 0x10ffff && pattern.test(String.fromCodePoint(each));
    } catch {
      // Not a property of that form.
    }
  return undefined;
}

/** Whatever the case of the text. */
export function inAnyCase(test: CodeTest): CodeTest {
  return (each) => {
    if (test(each)) return true;
    const text = String.fromCodePoint(each);
    return [text.toLowerCase(), text.toUpperCase()].some((other) => test(code(other)));
  };
}
