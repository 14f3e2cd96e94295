import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { normalPath } from './path.ts';

test('a path has one form, however it is written', () => {
  const cases: [string, string][] = [
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/a?b=/../c', '/a'],
    ['/a#b', '/a'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/../../b', '/b'],
    ['/a/..', '/'],
    ['/a/.', '/a/'],
    ['/a/b/../', '/a/'],
    ['\\a\\..\\b', '/b'],
    ['/%41%2d%7E', '/A-~'],
    ['/%2e%2e/a', '/a'],
    ['/a%2fb%20%25', '/a%2fb%20%25'],
    ['/a%zz', '/a%zz'],
    ['//a///b', '//a///b'],
    ['/...', '/...'],
    ['*', '*'],
    ['', ''],
  ];
  for (const [sent, normal] of cases) assert.equal(normalPath(sent), normal, sent);
});

test('what is normal stays so, begins with a slash and has no dots to resolve', () => {
  const text = fc
    .array(fc.constantFrom('/', '.', '..', 'a', '\\', '%2e', '%41', '%2f', '?', '%'))
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(text, (sent) => {
      const normal = normalPath(`/${sent}`);
      assert.match(normal, /^\//);
      assert.doesNotMatch(normal, /\/\.\.?(\/|$)|\\/);
      // An escape may come to stand for the beginning of another: those are decoded once, as proxies do.
      if (!/%25|%%|%$|%[^0-9a-f]/i.test(normal)) assert.equal(normalPath(normal), normal);
    }),
  );
});
