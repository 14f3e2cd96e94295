import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readPathTemplate, type TemplatePart } from '../../api/istio-words.ts';
import { matchesPath, matchesText, readRequestPrincipal, readText } from './patterns.ts';

test('texts are read as Istio reads them', () => {
  assert.deepEqual(readText('*'), { how: 'present' });
  assert.deepEqual(readText('a*'), { how: 'prefix', value: 'a' });
  assert.deepEqual(readText('*a'), { how: 'suffix', value: 'a' });
  assert.deepEqual(readText('*a*'), { how: 'suffix', value: 'a*' });
  assert.deepEqual(readText('a*b'), { how: 'exact', value: 'a*b' });
  assert.equal(matchesText(readText('*'), ''), false);
  assert.equal(matchesText(readText('**'), 'x*'), true);
});

test('the principal of a token is its issuer and its subject, parted by the last slash', () => {
  const any = { how: 'present' };
  const is = (value: string) => ({ how: 'exact', value });
  const cases: [string, unknown, unknown][] = [
    ['*', any, any],
    ['https://a/b', is('https://a'), is('b')],
    ['https://a/*', is('https://a'), any],
    ['https://a/b*', is('https://a'), { how: 'prefix', value: 'b' }],
    ['*/b', any, is('b')],
    ['*a/b', { how: 'suffix', value: 'a' }, is('b')],
    ['*b', any, { how: 'suffix', value: 'b' }],
    ['a*', { how: 'prefix', value: 'a' }, any],
  ];
  for (const [text, issuer, subject] of cases)
    assert.deepEqual(readRequestPrincipal(text), { issuer, subject }, text);
});

/** The same by a regular expression. */
const expressionOf = (parts: readonly TemplatePart[]): RegExp =>
  new RegExp(
    `^${parts.map((part) => ('text' in part ? part.text.replaceAll(/[.$]/g, '\\$&') : part.any === 'one' ? '[^/]+' : '.*')).join('')}$`,
  );

test('a template matches what a regular expression of it does', () => {
  const template = fc
    .array(fc.constantFrom('/', 'a', 'b', '{*}', '.x'), { maxLength: 6 })
    .chain((parts) => fc.constantFrom(parts, [...parts, '/{**}'], [...parts, '/{**}', '/a']))
    .map((parts) => `/${parts.join('')}`);
  const path = fc
    .array(fc.constantFrom('/', 'a', 'b', '.x', 'ab'), { maxLength: 8 })
    .map((p) => `/${p.join('')}`);
  let matched = 0;
  fc.assert(
    fc.property(template, path, (text, each) => {
      const parts = readPathTemplate(text);
      if (typeof parts === 'string') return;
      const expected = expressionOf(parts).test(each);
      assert.equal(matchesPath({ how: 'template', parts }, each), expected, `${text} ${each}`);
      if (expected) matched++;
    }),
    { numRuns: 3000 },
  );
  assert.ok(matched > 50, `${matched} matched`);
});

test('no template takes longer than its path is', () => {
  const parts = readPathTemplate(`/${'{*}a'.repeat(31)}/{**}b`);
  assert.ok(typeof parts !== 'string');
  assert.equal(matchesPath({ how: 'template', parts }, `/${'a'.repeat(20_000)}/`), false);
  assert.equal(matchesPath({ how: 'template', parts }, `/${'a'.repeat(20_000)}/${'b'.repeat(20_000)}`), true);
});
