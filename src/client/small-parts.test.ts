import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { NODE, POD, SERVICE } from '../api/kinds.ts';
import { HeddleError } from '../lib/errors.ts';
import { ApiError, errorFromBody } from './api-error.ts';
import { keyOf, splitKey } from './informer-cache.ts';
import { collectionPath, objectPath, withQuery } from './path.ts';
import { createRateLimit } from './rate-limit.ts';
import { createLineSplitter, parseEvent } from './watch.ts';

test('lines come out whole however they are cut', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.string({ unit: 'grapheme', minLength: 1 }).filter((s) => s.trim() !== '' && !s.includes('\n')),
      ),
      fc.array(fc.nat(200)),
      (lines, cuts) => {
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const split = createLineSplitter();
        const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
        const out = at.slice(1).flatMap((end, i) => split(bytes.subarray(at[i], end)));
        assert.deepEqual(out, lines);
      },
    ),
  );
});

test('a line without an end is given up', () => {
  const split = createLineSplitter(10);
  split(Buffer.from('12345'));
  assert.throws(() => split(Buffer.from('6789012')), { code: 'ApiBadAnswer' });
});

test('whatever a body is, it becomes an ApiError with the status it came with or names', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (body) => {
      assert.equal(errorFromBody(500, body, 'GET /').code, 500);
    }),
  );
});

test('paths are those of Kubernetes', () => {
  assert.equal(collectionPath(POD), '/api/v1/pods');
  assert.equal(collectionPath(NODE, 'ignored'), '/api/v1/nodes');
  assert.equal(objectPath(SERVICE, 'a/b', 'x y'), '/api/v1/namespaces/x%20y/services/a%2Fb');
  assert.throws(() => objectPath(POD, 'a'), /needs a namespace/);
  assert.throws(() => objectPath(POD, '', 'shop'), /without a name/);
  assert.equal(withQuery('/x', { a: undefined, b: '', c: 0 }), '/x?c=0');
});

test('keys survive being taken apart', () => {
  assert.deepEqual(splitKey(keyOf({ name: 'a', namespace: 'shop' })), { namespace: 'shop', name: 'a' });
  assert.deepEqual(splitKey(keyOf({ name: 'a' })), { namespace: undefined, name: 'a' });
});

test('a bucket lets a burst go at once and the rest at its rate', async () => {
  let now = 0;
  const waits: number[] = [];
  const clock = {
    now: () => now,
    monotonic: () => now,
    sleep: async (ms: number) => void waits.push(ms),
  };
  const limit = createRateLimit(10, 3, clock);
  for (let i = 0; i < 5; i++) await limit.acquire();
  assert.deepEqual(waits, [100, 200]);
  now = 10_000;
  for (let i = 0; i < 3; i++) await limit.acquire();
  assert.equal(waits.length, 2);
});

test('whatever a line of a watch is, it is an event, an ApiError or a bad answer', () => {
  const event = fc
    .record({ type: fc.constantFrom('ADDED', 'ERROR', 'x', 1), object: fc.jsonValue() })
    .map((one) => JSON.stringify(one));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), event), (line) => {
      try {
        assert.equal(typeof parseEvent(line, 'watch').object, 'object');
      } catch (error) {
        assert.ok(
          error instanceof ApiError || (error instanceof HeddleError && error.code === 'ApiBadAnswer'),
        );
      }
    }),
  );
});
