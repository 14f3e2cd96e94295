import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createFlowLog } from './flow-log.ts';

const event = (sport: number) =>
  ({
    time: 0,
    verdict: 'allow',
    direction: 'ingress',
    rule: 1,
    protocol: 'TCP',
    src: '10.0.0.1',
    dst: '10.0.0.2',
    sport,
    dport: 80,
  }) as const;

test('a reader that pages on sees every event of the ring once and in order', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 20 }), fc.integer({ min: 1, max: 7 }), (batches, limit) => {
      const log = createFlowLog({ node: 'n', capacity: 1000 });
      const seen: number[] = [];
      let since = 0;
      let made = 0;
      for (const size of batches) {
        log.add(Array.from({ length: size }, () => event(++made)));
        for (;;) {
          const page = log.since(since, limit);
          if (page.events.length === 0) break;
          seen.push(...page.events.map(({ sport }) => sport));
          since = page.next;
        }
      }
      assert.deepEqual(
        seen,
        Array.from({ length: made }, (_, i) => i + 1),
      );
    }),
  );
});

test('a full ring keeps the newest', () => {
  const log = createFlowLog({ node: 'n', capacity: 3 });
  log.add([1, 2, 3, 4, 5].map(event));
  const page = log.since(0);
  assert.deepEqual(
    page.events.map(({ seq, sport }) => [seq, sport]),
    [
      [3, 3],
      [4, 4],
      [5, 5],
    ],
  );
  assert.equal(page.next, 5);
});

test('a reader that knew an earlier agent gets everything there is', () => {
  const log = createFlowLog({ node: 'n' });
  log.add([event(1)]);
  assert.equal(log.since(99).events.length, 1);
  assert.equal(log.since(99).next, 1);
});

test('losses of the kernel are told', () => {
  const log = createFlowLog({ node: 'n' });
  log.kernelLost(7);
  assert.equal(log.since(0).lost, 7);
});
