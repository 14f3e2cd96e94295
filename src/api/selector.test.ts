import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../lib/errors.ts';
import {
  compileFieldSelector,
  compileOptionalSelector,
  compileSelector,
  compileServiceSelector,
  compileTextSelector,
  type LabelSelector,
  parseFieldSelector,
  parseSelector,
  selectorText,
} from './selector.ts';

test('the empty selector selects everything, no selector nothing', () => {
  assert.equal(compileSelector({})(undefined), true);
  assert.equal(compileOptionalSelector(undefined)({ a: 'b' }), false);
  assert.equal(compileTextSelector('')({}), true);
  assert.equal(compileServiceSelector({})({ a: 'b' }), false);
  assert.equal(compileServiceSelector({ a: 'b' })({ a: 'b', c: 'd' }), true);
});

const cases: [string, Record<string, string>, boolean][] = [
  ['a=b', { a: 'b' }, true],
  ['a=b', { a: 'c' }, false],
  ['a=b', {}, false],
  ['a==b', { a: 'b' }, true],
  ['a!=b', {}, true],
  ['a!=b', { a: 'b' }, false],
  ['a in (b, c)', { a: 'c' }, true],
  ['a in (b,c)', { a: 'd' }, false],
  ['a notin (b,c)', {}, true],
  ['a notin (b,c)', { a: 'b' }, false],
  ['a', { a: '' }, true],
  ['a', {}, false],
  ['!a', {}, true],
  ['! a', { a: '' }, false],
  ['a=', { a: '' }, true],
  ['a in ()', { a: '' }, true],
  ['a in (,b)', { a: '' }, true],
  ['a in (b,)', { a: '' }, true],
  ['app.kubernetes.io/name=web,tier notin (db),!canary', { 'app.kubernetes.io/name': 'web' }, true],
  ['in in (in)', { in: 'in' }, true],
  ['constructor', {}, false],
  ['toString!=x', {}, true],
];
for (const [text, labels, expected] of cases)
  test(`"${text}" ${expected ? 'selects' : 'does not select'} ${JSON.stringify(labels)}`, () =>
    assert.equal(compileTextSelector(text)(labels), expected));

for (const text of [
  'a=b=c',
  '=b',
  'a in',
  'a in b',
  'a in (b',
  'a b',
  ',',
  'a,',
  ',a',
  '!',
  'a>1',
  'a in (b c)',
  'a=b,,c=d',
  'é',
])
  test(`"${text}" is refused with the place`, () =>
    assert.throws(
      () => parseSelector(text),
      (error) =>
        error instanceof HeddleError && error.code === 'BadSelector' && /column|end/.test(error.message),
    ));

const key = fc.constantFrom('a', 'b', 'x.y/z', 'constructor');
const value = fc.constantFrom('', '1', '2', '3');
const expression = fc.oneof(
  fc.record({
    key,
    operator: fc.constantFrom('In', 'NotIn'),
    values: fc.uniqueArray(value, { minLength: 1 }),
  }),
  fc.record({ key, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
);
const selector = fc.record({
  matchLabels: fc.dictionary(key, value),
  matchExpressions: fc.array(expression, { maxLength: 3 }),
});
const labels = fc.dictionary(key, value);

/** Straight from the words of the reference, without shortcuts. */
function slow(s: LabelSelector, own: Record<string, string>): boolean {
  const has = new Map(Object.entries(own));
  return (
    Object.entries(s.matchLabels ?? {}).every(([k, v]) => has.get(k) === v) &&
    (s.matchExpressions ?? []).every((e) => {
      const there = has.has(e.key);
      if (e.operator === 'Exists') return there;
      if (e.operator === 'DoesNotExist') return !there;
      const among = there && (e.values ?? []).includes(has.get(e.key) ?? '');
      return e.operator === 'In' ? among : !among;
    })
  );
}

test('compiled selectors say what the reference says', () => {
  fc.assert(fc.property(selector, labels, (s, own) => assert.equal(compileSelector(s)(own), slow(s, own))));
});

test('the text of a selector selects the same', () => {
  fc.assert(
    fc.property(selector, labels, (s, own) => {
      const text = selectorText(s);
      assert.equal(compileTextSelector(text === '<none>' ? '' : text)(own), compileSelector(s)(own));
    }),
  );
});

test('any text is a selector or a BadSelector', () => {
  const anyText = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('a', 'in', ' ', '(', ')', ',', '=', '!', 'notin') }),
  );
  for (const parse of [parseSelector, parseFieldSelector])
    fc.assert(
      fc.property(anyText, (text) => {
        try {
          parse(text);
        } catch (error) {
          assert.ok(error instanceof HeddleError && error.code === 'BadSelector', String(error));
        }
      }),
    );
});

test('field selectors: equal, unequal, escapes, unknown fields', () => {
  const fields = { 'metadata.name': (o: { n: string }) => o.n };
  assert.equal(compileFieldSelector('metadata.name=a', fields)({ n: 'a' }), true);
  assert.equal(compileFieldSelector('metadata.name!=a', fields)({ n: 'a' }), false);
  assert.equal(compileFieldSelector('metadata.name==a\\,b', fields)({ n: 'a,b' }), true);
  assert.equal(compileFieldSelector('', fields)({ n: 'a' }), true);
  assert.throws(() => compileFieldSelector('spec.x=1', fields), /field label not supported: spec\.x/);
  assert.throws(() => compileFieldSelector('toString=1', fields), /not supported/);
});
