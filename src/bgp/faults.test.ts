/** What goes wrong between real routers on a real kernel. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { needsRoot } from '../kernel/test-netns.ts';
import { acceptAll } from './rib/filter.ts';
import { birdConfig } from './testing/bird-config.ts';
import { startBird } from './testing/bird.ts';
import { addHosts, backwards, connect, echo, place, stream } from './testing/lab.ts';
import { speak } from './testing/speak.ts';
import { until } from './testing/until.ts';

const skip = needsRoot;
const peer = {
  name: 'bird',
  peerAddress: '10.1.1.2',
  peerASN: 65002,
  families: ['ipv4'] as const,
  importFilter: acceptAll,
  timers: { connectRetryTimeSeconds: 1 },
};

function lab(test: TestContext) {
  const t = backwards(test);
  const [node, router] = [place(t), place(t)];
  connect(node, router, 'uplink', 1);
  return { t, node, router };
}

test('TCP MD5 with another key, or at one end only, says so', { skip }, async (context) => {
  const { t, node, router } = lab(context);
  await startBird(t, router.ns, birdConfig({ peerAs: 65001, peers: [4], more: 'password "one";' }));
  const speaker = speak(t, node, { localASN: 65001, peers: [{ ...peer, password: 'other' }] });
  const error = await until(
    'the error',
    () => speaker.status().peers[0]?.lastError,
    (found) => found?.text.includes('TCP MD5 (RFC 2385)') ?? false,
  );
  assert.equal(error?.code, 'BgpConnect');
});

test('an AS that is not the one expected is named at both ends', { skip }, async (context) => {
  const { t, node, router } = lab(context);
  const bird = await startBird(t, router.ns, birdConfig({ peerAs: 65001, peers: [4] }));
  const speaker = speak(t, node, { localASN: 65007, peers: [peer] });
  await until(
    'our error',
    () => speaker.status().peers[0]?.lastError?.text ?? '',
    (text) => text.includes('Bad Peer AS (AS 65007)'),
  );
  await until(
    'that of bird',
    () => bird.ask('show protocols all heddle4'),
    (text) => text.includes('Bad peer AS'),
  );
});

test('nobody there is an error that says so, and the session comes when somebody is', {
  skip,
}, async (context) => {
  const { t, node, router } = lab(context);
  const speaker = speak(t, node, { localASN: 65001, peers: [peer] });
  await until(
    'the error',
    () => speaker.status().peers[0]?.lastError?.text ?? '',
    (text) => text.includes('ECONNREFUSED 10.1.1.2:179'),
  );
  await startBird(t, router.ns, birdConfig({ peerAs: 65001, peers: [4] }));
  await until(
    'the session',
    () => speaker.status().peers[0]?.state,
    (state) => state === 'established',
  );
});

test('two routers tell one network: packets take both ways, and one when the other link is down', {
  skip,
}, async (context) => {
  const t = backwards(context);
  const [node, one, other] = [place(t), place(t), place(t)];
  connect(node, one, 'first', 1);
  connect(node, other, 'second', 2);
  for (const [i, router] of [one, other].entries()) {
    addHosts(router, '192.168.50.1/32');
    const config = birdConfig({ peerAs: 65001, peers: [4] }).replaceAll('10.1.1.', `10.1.${i + 1}.`);
    await startBird(t, router.ns, config);
    echo(t, router, '192.168.50.1');
  }
  addHosts(node, '10.244.1.5/32');
  const peers = [1, 2].map((n) => ({ ...peer, name: `bird-${n}`, peerAddress: `10.1.${n}.2` }));
  const speaker = speak(t, node, { localASN: 65001, peers, multipath: 2 });
  speaker.advertise([{ prefix: '10.244.1.0/24' }]);
  const hops = () =>
    node.route
      .routes()
      .filter(({ dst }) => dst === '192.168.50.0/24')
      .flatMap((route) => (route.hops ?? [route]).map(({ via }) => via));
  await until('both ways', hops, (found) => found.length === 2);
  for (const router of [one, other])
    await until('the way back', () => router.route.routes().some(({ dst }) => dst === '10.244.1.0/24'));
  // A way is chosen by addresses and, where the kernel is told to, ports: that each works is what is asked here.
  const packets = stream(t, node, '10.244.1.5', '192.168.50.1');
  await until(
    'echoes',
    () => packets.echoed.size,
    (count) => count > 5,
  );
  node.route.setLink('second', { up: false });
  await until('one way', hops, (found) => found.length === 1 && found[0] === '10.1.1.2');
  const before = packets.echoed.size;
  await until(
    'echoes by the other way',
    () => packets.echoed.size,
    (count) => count > before + 5,
  );
  node.route.setLink('second', { up: true });
  await until('both ways again', hops, (found) => found.length === 2);
});

test('somebody else’s route to the same prefix goes first and is left alone', { skip }, async (context) => {
  const { t, node, router } = lab(context);
  node.route.replaceRoute({ dst: '192.168.50.0/24', via: '10.1.1.77', dev: 'uplink' });
  await startBird(t, router.ns, birdConfig({ peerAs: 65001, peers: [4] }));
  const speaker = speak(t, node, { localASN: 65001, peers: [peer] });
  await until(
    'routes',
    () => speaker.status().installed,
    (count) => count === 2,
  );
  assert.equal(node.route.routeTo('192.168.50.1')?.via, '10.1.1.77');
  await speaker.close();
  assert.deepEqual(
    node.route
      .routes()
      .filter(({ protocol }) => protocol === 72)
      .map(({ via }) => via),
    ['10.1.1.77'],
  );
});
