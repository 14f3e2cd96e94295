import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../errors.ts';
import { compileRegex } from './regex.ts';

const full: [source: string, yes: string[], no: string[]][] = [
  ['', [''], ['a']],
  ['abc', ['abc'], ['ab', 'abcd', 'ABC']],
  ['a|b|', ['a', 'b', ''], ['ab']],
  ['/api/v[0-9]+/.*', ['/api/v1/', '/api/v12/x'], ['/api/v/', '/api/v1', '/api/v1/\n']],
  ['(?s).*', ['a\nb'], []],
  ['^/public/.*$', ['/public/x'], ['/private/x']],
  ['(?i)get', ['GET', 'get', 'gEt'], ['got']],
  ['(?i:G)ET', ['gET'], ['get']],
  ['G(?i)et', ['GET'], ['gET']],
  ['a{2,3}', ['aa', 'aaa'], ['a', 'aaaa']],
  ['a{2}', ['aa'], ['a', 'aaa']],
  ['a{2,}', ['aa', 'aaaaaa'], ['a']],
  ['a{,2}', ['a{,2}'], ['a', 'aa']],
  ['(ab)+?c??', ['ab', 'ababc'], ['c']],
  ['(?P<id>\\d+)-(?<x>\\w)', ['12-a'], ['a-a']],
  ['[^a-c\\d]', ['d', '-', '\n'], ['a', '5']],
  ['[]a-]+', [']a-'], ['b']],
  ['[[:alpha:][:^digit:]_-]', ['a', '_'], ['1']],
  ['\\Qa.b*\\E+', ['a.b*', 'a.b***'], ['a.b']],
  ['\\x41\\x{1F600}\\.\\012', ['A😀.\n'], ['A😀']],
  ['.', ['é', '😀'], ['ab', '']],
  ['\\pL\\P{Greek}\\p{^Lu}', ['ébc'], ['1bc', 'aαc', 'abC']],
  ['\\bfoo\\b.*', ['foo', 'foo bar'], ['foobar']],
  ['(?m)a$\\n^b', ['a\nb'], ['ab']],
  ['a\\Bb\\z', ['ab'], ['a']],
];
const refused = [
  '(',
  ')',
  'a**',
  '*',
  '[a',
  '\\',
  '(?=a)',
  '(?<=a)',
  '(?<!a)',
  '(a)\\1',
  'a{3,2}',
  'a{1001}',
  '[b-a]',
  '\\k',
  '[[:x:]]',
  '\\p{Nope}',
  '\\x{110000}',
  '(?P<>a)',
  'a++',
];

for (const [source, yes, no] of full)
  test(`"${source}" matches what RE2 says it matches`, () => {
    const regex = compileRegex(source);
    for (const text of yes) assert.ok(regex.fullMatch(text), JSON.stringify(text));
    for (const text of no) assert.ok(!regex.fullMatch(text), JSON.stringify(text));
  });

for (const source of refused)
  test(`"${source}" is refused`, () => {
    assert.throws(
      () => compileRegex(source),
      (error) => error instanceof HeddleError && error.code === 'BadRegex',
    );
  });

test('search finds a match anywhere', () => {
  assert.ok(compileRegex('b+').search('aabb'));
  assert.ok(!compileRegex('^b').search('ab'));
  assert.ok(compileRegex('b$').search('ab'));
  assert.ok(compileRegex('').search('x'));
});

/** Of a few letters, in the common part of the two syntaxes. */
const sources = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\d', '^', '$', '\\b', '1'),
    fc.tuple(tie('node'), tie('node')).map(([x, y]) => `${x}${y}`),
    fc.tuple(tie('node'), tie('node')).map(([x, y]) => `(?:${x}|${y})`),
    fc
      .tuple(tie('node'), fc.constantFrom('*', '+', '?', '{2}', '{1,2}', '{0,}'))
      .map(([x, many]) => `(?:${x})${many}`),
  ),
})).node;

test('what matches is what the expressions of the language say, where both have the syntax', () => {
  const texts = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '1', ' ', '\n'), maxLength: 8 }), {
    maxLength: 10,
  });
  fc.assert(
    fc.property(sources, texts, (source, list) => {
      const ours = compileRegex(source);
      const whole = new RegExp(`^(?:${source})$`);
      const anywhere = new RegExp(source);
      for (const text of list) {
        assert.equal(ours.fullMatch(text), whole.test(text), JSON.stringify([source, text]));
        assert.equal(ours.search(text), anywhere.test(text), JSON.stringify([source, text]));
      }
    }),
    { numRuns: 3000 },
  );
});

test('no expression takes more than linear time, and those that would be huge are refused', () => {
  const text = 'a'.repeat(20_000);
  for (const source of ['(a*)*b', '(a|a)*b', '(a+)+$x', '(a?){500}a{500}', '.*.*.*.*.*=.*', '(a|aa)+c'])
    assert.ok(!compileRegex(source).fullMatch(text));
  for (const source of [
    '((a{100}){100}){100}',
    '((((){1000}){1000}){1000}){1000}',
    `${'('.repeat(500)}${')'.repeat(500)}`,
    'a'.repeat(5000),
  ])
    assert.throws(() => compileRegex(source), { code: 'BadRegex' });
});

test('any text is an expression or is refused', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...Array.from('ab(){}[]|*+?\\^$.-:PQExi<>,0123')), maxLength: 30 }),
      fc.string(),
      (source, text) => {
        try {
          compileRegex(source).fullMatch(text);
        } catch (error) {
          assert.ok(error instanceof HeddleError && error.code === 'BadRegex');
        }
      },
    ),
    { numRuns: 5000 },
  );
});
