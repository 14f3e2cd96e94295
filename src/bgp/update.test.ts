/** What changes in a speaker that runs: peers, filters, and who is told what. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { acceptAll, rejectAll } from './rib/filter.ts';
import { fakeNet, fakeTimers } from './testing/fake.ts';
import { A, B, begin, pair, peerOf } from './testing/pair.ts';

const C = '10.1.1.3';

/** One in the middle, and two that it speaks with. */
async function three() {
  const [net, timers] = [fakeNet(), fakeTimers()];
  const peers = [peerOf(B, 65002), peerOf(C, 65003)];
  const a = begin(net, timers, A, { peers });
  const b = begin(net, timers, B, { localASN: 65002, peers: [peerOf(A, 65001)] });
  const c = begin(net, timers, C, { localASN: 65003, peers: [peerOf(A, 65001)] });
  await timers.advance(5000);
  return { a, b, c, timers, peers };
}

test('a peer is told what is meant for it, with the attributes that are meant for it', async () => {
  const { a, b, c, timers } = await three();
  a.speaker.advertise([
    { prefix: '10.244.1.0/24', communities: ['65001:2'], peers: [B] },
    { prefix: '10.244.1.0/24', communities: ['65001:3'], peers: [C] },
    { prefix: '10.244.2.0/24', peers: [C] },
    { prefix: '10.244.3.0/24' },
  ]);
  await timers.advance(1000);
  const seen = (one: typeof b) =>
    [...one.speaker.routes()].map(([prefix, [best]]) => [prefix, best?.attributes.communities]);
  assert.deepEqual(seen(b), [
    ['10.244.1.0/24', ['65001:2']],
    ['10.244.3.0/24', undefined],
  ]);
  assert.deepEqual(seen(c), [
    ['10.244.1.0/24', ['65001:3']],
    ['10.244.2.0/24', undefined],
    ['10.244.3.0/24', undefined],
  ]);
  assert.deepEqual([...(a.speaker.told().get(B)?.keys() ?? [])], ['10.244.1.0/24', '10.244.3.0/24']);
  assert.deepEqual(a.peer().perFamily, { ipv4: { received: 0, sent: 2 }, ipv6: { received: 0, sent: 0 } });
  a.speaker.advertise([{ prefix: '10.244.1.0/24', peers: [C] }]);
  await timers.advance(1000);
  assert.deepEqual([seen(b), seen(c)], [[], [['10.244.1.0/24', undefined]]]);
});

test('a peer that changes is begun again, one that goes is told so, and the others’ sessions stand', async () => {
  const { a, b, c, timers, peers } = await three();
  a.speaker.advertise([{ prefix: '10.244.1.0/24' }]);
  a.speaker.update([peerOf(B, 65002, { timers: { holdTimeSeconds: 30 } }), peers[1] ?? assert.fail()]);
  await timers.advance(90_000);
  assert.match(b.peer().lastError?.text ?? '', /Other Configuration Change/);
  assert.deepEqual([b.peer().state, b.peer().holdTime, b.peer().restarts], ['established', 30, 1]);
  assert.deepEqual([c.peer().state, c.peer().restarts], ['established', 0]);
  assert.deepEqual([...b.speaker.routes().keys()], ['10.244.1.0/24'], 'it is told all again');
  a.speaker.update(peers.slice(1));
  await timers.advance(100);
  assert.match(b.peer().lastError?.text ?? '', /Peer De-configured/);
  assert.deepEqual([...b.speaker.routes().keys()], []);
  assert.deepEqual([c.peer().state, c.peer().restarts], ['established', 0]);
});

test('filters change in the session that stands', async () => {
  const { a, b, timers } = pair();
  b.speaker.advertise([{ prefix: '192.168.50.0/24' }]);
  await timers.advance(5000);
  assert.deepEqual([...a.kernel.written.keys()], ['192.168.50.0/24']);
  a.speaker.update([peerOf(B, 65002, { importFilter: rejectAll })]);
  await timers.advance(1000);
  assert.deepEqual([...a.kernel.written.keys()], []);
  assert.equal(a.peer().prefixes.received, 1, 'what the peer told is remembered');
  a.speaker.update([peerOf(B, 65002, { importFilter: acceptAll })]);
  await timers.advance(1000);
  assert.deepEqual([...a.kernel.written.keys()], ['192.168.50.0/24']);
  assert.deepEqual([a.peer().state, a.peer().restarts], ['established', 0]);
});

test('what cannot be is refused, and nothing changes', async () => {
  const { a, timers } = await three();
  assert.throws(() => a.speaker.update([peerOf(B, 0)]), /peerASN/);
  await timers.advance(1000);
  assert.deepEqual(
    a.speaker.status().peers.map(({ state }) => state),
    ['established', 'established'],
  );
});

test('a speaker that has restarted and takes no routes tells its own at once, and says that it has restarted', async () => {
  const [net, timers] = [fakeNet(), fakeTimers()];
  const silent = { importFilter: rejectAll };
  const options = { peers: [peerOf(B, 65002, silent), peerOf(C, 65003, silent)] };
  const before = begin(net, timers, A, options);
  const b = begin(net, timers, B, { localASN: 65002, peers: [peerOf(A, 65001)] });
  before.speaker.advertise([{ prefix: '10.244.1.0/24' }, { prefix: '10.244.2.0/24' }]);
  await timers.advance(5000);
  await before.speaker.close({ graceful: true });
  await timers.advance(100);
  assert.equal(b.peer().prefixes.stale, 2);
  const after = begin(net, timers, A, { ...options, restarting: true });
  after.speaker.advertise([{ prefix: '10.244.1.0/24' }]);
  // The other peer is down, and is not waited for.
  await timers.advance(5000);
  assert.deepEqual(b.peer().prefixes, { received: 1, used: 1, stale: 0, sent: 0 });
  assert.deepEqual([...b.kernel.written.keys()], ['10.244.1.0/24']);
});
