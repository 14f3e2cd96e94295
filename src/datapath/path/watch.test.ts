import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Clock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import type { RemoteNode } from '../plan/tables.ts';
import { createPathWatch } from './watch.ts';

const NODE: RemoteNode = { node: 'b', addresses: ['10.240.0.12'], podCidrs: ['10.244.2.0/24'] };
const UNDERLAY = NODE.addresses[0];
const MINUTE = 60_000;

/** Sleepers wake when the test says that their time has come. */
function handClock(): Clock & { pass(ms: number): Promise<void> } {
  let now = 0;
  let sleeping: { until: number; wake(): void }[] = [];
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    now: () => now,
    monotonic: () => now,
    sleep: (ms) => new Promise((wake) => void sleeping.push({ until: now + ms, wake })),
    async pass(ms) {
      for (const end = now + ms; now < end; now += 100) {
        const due = sleeping.filter(({ until }) => until <= now);
        sleeping = sleeping.filter(({ until }) => until > now);
        for (const { wake } of due) wake();
        await settle();
      }
    },
  };
}

/** A node that watches its path to another; `path` can be changed: largest packet that it carries, share that it loses. */
function watched(t: TestContext, path: { carries: number; loss: number }) {
  const clock = handClock();
  let sent = 0;
  let state = 1;
  const dice = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const watch = createPathWatch({
    probe(to, length, timeoutMs) {
      sent++;
      const inner = to === UNDERLAY ? length : length + 50;
      if (inner <= path.carries && dice() >= path.loss) return Promise.resolve(20);
      return clock.sleep(timeoutMs).then(() => undefined);
    },
    nodes: () => [NODE],
    node: 'a',
    encapsulation: () => 'vxlan',
    podMtu: () => 1450,
    underlayMtu: 1500,
    clock,
    log: silentLog,
  });
  const stop = new AbortController();
  t.after(() => stop.abort());
  void watch.run(stop.signal);
  return { watch, clock, path, sent: () => sent };
}

test('a black hole is told when it was seen twice, and is forgotten soon after it was mended', async (t) => {
  const { watch, clock, path, sent } = watched(t, { carries: 1400, loss: 0 });
  await clock.pass(4000);
  assert.notEqual(watch.condition().status, 'False', 'seen once');
  await clock.pass(2 * MINUTE);
  const { status, reason, message } = watch.condition();
  assert.deepEqual([status, reason], ['False', 'BlackHole']);
  assert.equal(
    message,
    'a to b by vxlan (IPv4): packets of 1350 bytes pass, of 1351 to 1450 bytes vanish, and nobody says so; between the nodes themselves 1400 of 1500 bytes pass: a link on the way has a smaller MTU than it says',
  );
  const before = sent();
  await clock.pass(40 * MINUTE);
  assert.equal(watch.condition().message, message);
  assert.ok(sent() - before < 40 * 350, 'and proved once a minute, not more often');
  path.carries = 1500;
  await clock.pass(15_000);
  assert.equal(watch.condition().status, 'True');
  path.carries = 1300;
  await clock.pass(3 * MINUTE);
  assert.match(watch.condition().message, /packets of 1250 bytes pass/, 'and told again');
});

for (const [what, path] of [
  ['a node that is dead', { carries: 0, loss: 0 }],
  ['a link that loses nine of ten packets', { carries: 1500, loss: 0.9 }],
  ['a link that loses a third', { carries: 1500, loss: 0.34 }],
] as const)
  test(`${what} is no black hole, and was none when it works again`, async (t) => {
    const { watch, clock, path: now } = watched(t, { ...path });
    for (let i = 0; i < 30; i++) {
      await clock.pass(MINUTE);
      assert.notEqual(watch.condition().status, 'False');
    }
    [now.carries, now.loss] = [1500, 0];
    await clock.pass(5 * MINUTE);
    assert.equal(watch.condition().status, 'True');
  });

test('a node that dies while its black hole is known is dead, and no black hole any more', async (t) => {
  const { watch, clock, path } = watched(t, { carries: 1400, loss: 0 });
  await clock.pass(MINUTE);
  assert.equal(watch.condition().status, 'False');
  path.carries = 0;
  await clock.pass(5 * MINUTE);
  assert.deepEqual(watch.blackHoles(), []);
  assert.equal(watch.condition().status, 'Unknown');
});

test('a node that was not there yet is asked again soon, one that stays away ever more seldom', async (t) => {
  const { watch, clock, path, sent } = watched(t, { carries: 0, loss: 0 });
  await clock.pass(10_000);
  path.carries = 1500;
  await clock.pass(15_000);
  assert.equal(watch.condition().status, 'True');
  path.carries = 0;
  await clock.pass(30 * MINUTE);
  const before = sent();
  await clock.pass(30 * MINUTE);
  assert.ok(sent() - before <= 30 * 17, 'at most once a minute');
});

test('a node that answers no probes because its port is taken says so', () => {
  const watch = createPathWatch({
    probe: () => Promise.resolve(undefined),
    silent: () => ['UDP 10.240.0.11:7248 is taken'],
    nodes: () => [],
    node: 'a',
    encapsulation: () => 'vxlan',
    podMtu: () => 1450,
    underlayMtu: 1500,
    clock: handClock(),
    log: silentLog,
  });
  const { status, reason, message } = watch.condition();
  assert.deepEqual([status, reason, message], ['Unknown', 'PortTaken', 'UDP 10.240.0.11:7248 is taken']);
});
