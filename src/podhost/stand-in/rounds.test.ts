/** Calls that a pod begins by itself: how often, and until when. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Behaviour } from './behaviour.ts';
import { createBehaviours } from './behaviours.ts';
import type { StandInPod } from './types.ts';

const calls: Behaviour['calls'] = [{ url: 'http://cart/', kind: 'http', host: 'cart', port: 80, path: '/' }];
const podWith = (behaviour: Behaviour, more: Partial<StandInPod> = {}): StandInPod => ({
  uid: 'u',
  namespace: 'shop',
  name: 'web',
  node: 'node-1',
  netns: '/none',
  addresses: [],
  log: '/none',
  tcp: [],
  udp: [],
  resolv: { nameservers: [], search: [], ndots: 1 },
  behaviour,
  ...more,
});

function lab(t: TestContext, random = 0.5) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  const begun: AbortSignal[] = [];
  const behaviours = createBehaviours({
    call(_pod, { url }, _headers, signal) {
      begun.push(signal);
      return new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve({ url, ms: 0, error: String(signal.reason) })),
      );
    },
    onCall() {},
    random: () => random,
  });
  const after = (ms: number) => {
    // A step at a time: what begins within a longer one would count from its end.
    for (let i = 0; i < ms; i++) t.mock.timers.tick(1);
    return begun.length;
  };
  return { behaviours, begun, after };
}

test('rounds come at the rate asked for, the first after a part of the time between two', (t) => {
  const { behaviours, after } = lab(t);
  behaviours.apply(podWith({ calls, rate: 4 }));
  assert.equal(after(124), 0);
  assert.equal(after(1), 1);
  assert.equal(after(249), 1);
  assert.equal(after(1), 2);
  assert.equal(after(2500), 12);
  behaviours.drop('u');
});

test('a pod applied again keeps its step; another rate takes the place of the first', (t) => {
  const { behaviours, after } = lab(t);
  for (let i = 0; i < 10; i++) {
    behaviours.apply(podWith({ calls, rate: 1 }));
    after(100);
  }
  assert.equal(after(0), 1);
  behaviours.apply(podWith({ calls, rate: 0.5 }));
  assert.equal(after(999), 1);
  assert.equal(after(1), 2);
  assert.equal(after(2000), 3);
  behaviours.drop('u');
});

for (const [what, end] of [
  ['goes', (behaviours) => behaviours.drop('u')],
  ['drains', (behaviours) => behaviours.apply(podWith({ calls, rate: 4 }, { draining: true }))],
  ['asks for none any more', (behaviours) => behaviours.apply(podWith({ calls }))],
] as [string, (behaviours: ReturnType<typeof createBehaviours>) => void][])
  for (const early of [true, false])
    test(`no round begins when the pod ${what}, ${early ? 'before the first one' : 'after some'}`, (t) => {
      const { behaviours, begun, after } = lab(t);
      behaviours.apply(podWith({ calls, rate: 4 }));
      const before = after(early ? 124 : 375);
      assert.equal(before, early ? 0 : 2);
      end(behaviours);
      assert.equal(after(3600), before);
      if (what === 'goes')
        assert.ok(
          begun.every(({ aborted }) => aborted),
          'calls under way end with it',
        );
      behaviours.drop('u');
    });
