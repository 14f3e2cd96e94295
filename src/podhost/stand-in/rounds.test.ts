/** Calls that a pod begins by itself: how often, and until when. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Behaviour } from './behaviour.ts';
import { createBehaviours } from './behaviours.ts';
import { keepPace } from './pace.ts';
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
  let now = 0;
  const behaviours = createBehaviours({
    call(_pod, { url }, _headers, signal) {
      begun.push(signal);
      return new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve({ url, ms: 0, error: String(signal.reason) })),
      );
    },
    onCall() {},
    random: () => random,
    now: () => now,
  });
  const after = (ms: number) => {
    // A step at a time: what begins within a longer one would count from its end.
    for (let i = 0; i < ms; i++) {
      now++;
      t.mock.timers.tick(1);
    }
    return begun.length;
  };
  /** Nobody looks at a timer meanwhile. */
  const blocked = (ms: number) => {
    now += ms;
    t.mock.timers.tick(ms);
  };
  return { behaviours, begun, after, blocked };
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

for (const rate of [0.1, 0.7, 3, 40, 333, 1000])
  test(`${rate} a second are that many over time, however late timers are`, (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const [seconds, start] = [100, 12_345.678];
    let [time, made, missed] = [start, 0, 0];
    const end = keepPace({
      rate,
      phase: 0.5,
      now: () => time,
      once: () => made++,
      onMissed: (count) => (missed += count),
    });
    for (let i = 0; time < start + seconds * 1000; i++) {
      // Timers that are up to 7 ms late, and a hold-up of half a second now and then.
      const ms = i % 500 === 0 ? 500 : 1 + (i % 7);
      time += ms;
      t.mock.timers.tick(ms);
    }
    assert.ok(Math.abs(made - rate * seconds) <= Math.max(1, rate / 2), `${made}`);
    assert.equal(missed, 0);
    end();
    time += 60_000;
    t.mock.timers.tick(60_000);
    assert.ok(made <= rate * (seconds + 1));
  });

test('what is late by more than a second is counted and not made up for', (t) => {
  const { behaviours, after, blocked } = lab(t);
  behaviours.apply(podWith({ calls, rate: 10 }));
  assert.equal(after(51), 1);
  blocked(5000);
  assert.equal(after(0), 11, 'a second of it is made up for');
  assert.equal(behaviours.missed('u'), 40);
  assert.equal(after(1000), 21);
  behaviours.drop('u');
});

test('rounds that find no room for their calls are counted and do not wait', (t) => {
  const { behaviours, after } = lab(t);
  behaviours.apply(podWith({ calls, rate: 1000 }));
  assert.equal(after(1000), 100, 'no call ever ends here');
  const missed = behaviours.missed('u');
  assert.ok(missed >= 890 && missed <= 900, `${missed}`);
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
