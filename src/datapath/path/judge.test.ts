import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chanceOf, judgePath } from './judge.ts';
import { decodeMessage, encodeAnswer, encodeProbe, leastProbe } from './wire.ts';

/** A path that loses by dice, and swallows what is longer than `carries`. */
function pathOf(carries: number, loss: number, seed: number) {
  let state = seed;
  const dice = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 8) & 0xffff) / 0x10000;
  };
  let sent = 0;
  const probe = (length: number): Promise<number | undefined> => {
    sent++;
    return Promise.resolve(length <= carries && dice() >= loss ? 20 : undefined);
  };
  return { probe, sent: () => sent };
}
const sizes = { full: 1450, small: 576 };

test('a path that carries the largest packet is proved with one probe', async () => {
  const { probe, sent } = pathOf(1500, 0, 1);
  assert.deepEqual(await judgePath({ probe, ...sizes }), { state: 'proved', rtt: 20, loss: 0 });
  assert.equal(sent(), 1);
});

test('a black hole is found to the byte, also where packets are lost', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 576, max: 1449 }),
      fc.integer({ min: 0, max: 30 }),
      fc.nat(0xffffffff),
      async (carries, percent, seed) => {
        const { probe, sent } = pathOf(carries, percent / 100, seed);
        const verdict = await judgePath({ probe, ...sizes });
        assert.ok(verdict.state === 'black-hole', verdict.state);
        assert.ok(sent() < 1000);
        // A mistake of the bisection is one in ten thousand per step: it may only be too careful, never too bold.
        assert.ok(verdict.passes <= carries && verdict.fails === verdict.passes + 1);
        if (percent === 0) assert.equal(verdict.passes, carries);
      },
    ),
  );
});

test('a path that loses packets of any size is never a black hole', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 95 }), fc.nat(0xffffffff), async (percent, seed) => {
      const { probe } = pathOf(1500, percent / 100, seed);
      const { state } = await judgePath({ probe, ...sizes });
      assert.notEqual(state, 'black-hole');
    }),
  );
});

test('a path whose end dies while it is judged is no black hole', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 8, max: 60 }),
      fc.integer({ min: 1, max: 20 }),
      fc.nat(0xffffffff),
      async (lives, percent, seed) => {
        const { probe, sent } = pathOf(1500, percent / 100, seed);
        const dying = (length: number) =>
          // The first large packet is lost, or there would be nothing to find out.
          sent() === 0 || sent() >= lives ? probe(Infinity) : probe(length);
        assert.notEqual((await judgePath({ probe: dying, ...sizes })).state, 'black-hole');
      },
    ),
    { numRuns: 400 },
  );
});

test('nobody there is no black hole either', async () => {
  assert.deepEqual(await judgePath({ ...pathOf(0, 0, 1), ...sizes }), { state: 'unreachable' });
});

test('the chance is that of Fisher’s test', () => {
  assert.ok(Math.abs(chanceOf(2, 2) - 1 / 6) < 1e-12);
  assert.ok(chanceOf(12, 12) < 1e-6 && chanceOf(9, 12) > 1e-6);
  assert.equal(chanceOf(0, 12), 1);
});

test('messages are as long as they say, and come back as they went', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(4 as const, 6 as const),
      fc.integer({ min: 64, max: 9000 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (family, length, token) => {
        const probe = encodeProbe(length, token, family);
        assert.equal(probe.length + 8 + (family === 4 ? 20 : 40), length);
        const message = decodeMessage(probe);
        assert.deepEqual(message, { kind: 'probe', length, token });
        assert.deepEqual(decodeMessage(encodeAnswer(message)), { kind: 'answer', length, token });
        assert.ok(encodeAnswer(message).length <= probe.length);
      },
    ),
  );
  assert.equal(leastProbe(6), 64);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void decodeMessage(Buffer.from(bytes))));
});
