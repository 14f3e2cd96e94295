import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeddleError } from '../lib/errors.ts';
import { parseReference, referenceText, shortName } from './reference.ts';

const HEX = 'a'.repeat(64);
const cases: [text: string, full: string][] = [
  ['busybox', 'docker.io/library/busybox:latest'],
  ['busybox:1.36', 'docker.io/library/busybox:1.36'],
  ['shop/web', 'docker.io/shop/web:latest'],
  ['docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/shop/web:1', 'docker.io/shop/web:1'],
  ['localhost/web', 'localhost/web:latest'],
  ['localhost:5000/web:1', 'localhost:5000/web:1'],
  ['ghcr.io/a/b/c_d__e:V1.2-x', 'ghcr.io/a/b/c_d__e:V1.2-x'],
  ['[::1]:5000/web', '[::1]:5000/web:latest'],
  [`web@sha256:${HEX}`, `docker.io/library/web@sha256:${HEX}`],
  [`web:1@sha256:${HEX}`, `docker.io/library/web@sha256:${HEX}`],
];
for (const [text, full] of cases)
  test(`the image ${text} is ${full}`, () => {
    assert.equal(referenceText(parseReference(text)), full);
  });

for (const text of [
  '',
  ':1',
  'a:',
  'a b',
  'Busybox',
  'a//b',
  '../a',
  'a@sha256:12',
  'a@md5:x',
  '/a',
  'a/',
  'a:-x',
  'a'.repeat(260),
])
  test(`${JSON.stringify(text.slice(0, 20))} is no name of an image`, () => {
    assert.throws(
      () => parseReference(text),
      (error) => error instanceof HeddleError && error.code === 'BadImageName',
    );
  });

test('a name in full is itself, and so is its short form', () => {
  const part = fc.stringMatching(/^[a-z0-9]{1,8}(-[a-z0-9]{1,4})?$/);
  fc.assert(
    fc.property(
      fc.option(fc.constantFrom('ghcr.io', 'localhost', 'x.y:50')),
      fc.array(part, { minLength: 1, maxLength: 3 }),
      part,
      (host, path, tag) => {
        const text = `${host === null ? '' : `${host}/`}${path.join('/')}:${tag}`;
        const full = referenceText(parseReference(text));
        assert.equal(referenceText(parseReference(full)), full);
        assert.equal(referenceText(parseReference(shortName(full))), full);
      },
    ),
  );
});
