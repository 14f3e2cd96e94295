/** RFC 4724 with real routers: who restarts, and that no packet notices. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { needsRoot } from '../kernel/test-netns.ts';
import { acceptAll } from './rib/filter.ts';
import { birdConfig } from './testing/bird-config.ts';
import { startBird } from './testing/bird.ts';
import { frrConfig } from './testing/frr-config.ts';
import { startFrr } from './testing/frr.ts';
import { addHosts, backwards, connect, echo, noneLost, place, stream } from './testing/lab.ts';
import { speak } from './testing/speak.ts';
import { until } from './testing/until.ts';
import type { Speaker } from './speaker.ts';

const skip = needsRoot;

const peer = { peerASN: 65002, importFilter: acceptAll, timers: { connectRetryTimeSeconds: 2 } };

/** bird has a session for each family. */
const besideBird = {
  localASN: 65001,
  peers: [
    { ...peer, name: 'ipv4', peerAddress: '10.1.1.2', families: ['ipv4'] as const },
    { ...peer, name: 'ipv6', peerAddress: 'fd00:1:1::2', families: ['ipv6'] as const },
  ],
};

/**
 * FRR has one for both: of two, the first to be back ends the restart of the other. It connects itself, for it refuses
 * connections that come before it knows its own addresses, and then takes its restart for over.
 */
const besideFrr = {
  localASN: 65001,
  peers: [{ ...peer, name: 'both', peerAddress: '10.1.1.2', password: 'heddle', passive: true }],
};

const routers = [
  ['bird', startBird, birdConfig({ peerAs: 65001 }), besideBird, 5],
  ['FRR', startFrr, frrConfig({ peerAs: 65001, oneSession: true }), besideFrr, 4],
] as const;

const podRanges = [{ prefix: '10.244.1.0/24' }, { prefix: 'fd00:10:244:1::/64' }];

function lab(test: TestContext) {
  const t = backwards(test);
  const [node, router] = [place(t), place(t)];
  connect(node, router, 'uplink', 1);
  addHosts(node, '10.244.1.5/32', 'fd00:10:244:1::5/128');
  addHosts(router, '192.168.50.1/32', 'fd00:50::1/128');
  const flows = [
    ['10.244.1.5', '192.168.50.1'],
    ['fd00:10:244:1::5', 'fd00:50::1'],
  ] as const;
  for (const [, to] of flows) echo(t, router, to);
  /** Numbered datagrams in both families, from pods to hosts behind the router and back. */
  async function traffic() {
    const streams = [];
    for (const [from, to] of flows) {
      // What comes before both ends have the routes is lost, and is not counted.
      const first = stream(t, node, from, to);
      await until(
        `echoes from ${to}`,
        () => first.echoed.size,
        (count) => count > 3,
      );
      first.stop();
      streams.push(stream(t, node, from, to));
    }
    return streams;
  }
  return { t, node, router, traffic };
}

const isUp = (speaker: Speaker) =>
  speaker.status().peers.every(({ state, prefixes }) => state === 'established' && prefixes.stale === 0);

for (const [name, start, config, ours, prefixes] of routers) {
  test(`${name} is killed and comes back: what it told stays in use, and no packet is lost`, {
    skip,
  }, async (context) => {
    const { t, node, router, traffic } = lab(context);
    // What the router itself loses as it restarts is its own: a way back is always there. Our routes are what is asked.
    router.route.replaceRoute({ dst: '10.244.0.0/16', via: '10.1.1.1', dev: 'uplink' });
    router.route.replaceRoute({ dst: 'fd00:10:244::/48', via: 'fd00:1:1::1', dev: 'uplink' });
    const other = await start(t, router.ns, config);
    const speaker = speak(t, node, ours);
    speaker.advertise(podRanges);
    await until(
      'routes',
      () => speaker.routes().size,
      (size) => size === prefixes,
    );
    const streams = await traffic();
    await other.kill();
    await until(
      'stale routes',
      () => speaker.status().peers.map((peer) => peer.prefixes.stale),
      (stale) => stale.every((count) => count > 0),
    );
    assert.equal(speaker.routes().size, prefixes);
    await other.start({ recover: true });
    await until(
      'the sessions again',
      () => speaker.status(),
      () => isUp(speaker),
    );
    await until(
      'our ranges in the router',
      () =>
        router.route
          .routes()
          .filter(({ dst, protocol }) => protocol !== 72 && podRanges.some(({ prefix }) => prefix === dst)),
      (routes) => routes.length === 2,
    );
    assert.ok(speaker.status().peers.every(({ restarts }) => restarts > 0));
    assert.equal(speaker.routes().size, prefixes);
    await noneLost(streams);
  });

  test(`this speaker restarts gracefully beside ${name}: no packet is lost, and what is gone meanwhile goes then`, {
    skip,
  }, async (context) => {
    const { t, node, router, traffic } = lab(context);
    await start(t, router.ns, config);
    const before = speak(t, node, ours);
    before.advertise(podRanges);
    await until(
      'routes',
      () => before.routes().size,
      (size) => size === prefixes,
    );
    const streams = await traffic();
    // A route of the time before that nobody will tell again.
    node.route.replaceRoute({ dst: '192.168.99.0/24', via: '10.1.1.2', dev: 'uplink', metric: 1179 });
    await before.close({ graceful: true });
    const kept = () =>
      node.route
        .routes()
        .filter(({ protocol, metric }) => protocol === 72 && metric === 1179)
        .map(({ dst }) => dst);
    assert.equal(kept().length, prefixes - 2 + 1);
    const after = speak(t, node, ours);
    assert.equal(after.status().isDeferring, true);
    after.advertise(podRanges);
    await until(
      'the end of the restart',
      () => after.status(),
      ({ isDeferring, routes }) => !isDeferring && routes === prefixes,
    );
    await until('the old route to go', kept, (routes) => !routes.includes('192.168.99.0/24'));
    assert.equal(kept().length, prefixes - 2);
    await noneLost(streams);
  });
}

test('a peer that does not come back loses its routes when its time is over', { skip }, async (context) => {
  const { t, node, router } = lab(context);
  const config = birdConfig({ peerAs: 65001, more: 'graceful restart time 1;' });
  const bird = await startBird(t, router.ns, config);
  const speaker = speak(t, node, besideBird);
  await until(
    'routes',
    () => speaker.routes().size,
    (size) => size === 3,
  );
  await bird.kill();
  await until(
    'no routes',
    () => [speaker.routes().size, speaker.status().installed],
    ([routes, installed]) => routes === 0 && installed === 0,
  );
  assert.equal(
    node.route.routes().some(({ protocol }) => protocol === 72),
    false,
  );
});

test('a peer that says why it goes takes its routes with it at once', { skip }, async (context) => {
  const { t, node, router } = lab(context);
  const bird = await startBird(t, router.ns, birdConfig({ peerAs: 65001 }));
  const speaker = speak(t, node, besideBird);
  await until(
    'routes',
    () => speaker.routes().size,
    (size) => size === 3,
  );
  await bird.ask('disable all');
  await until(
    'no routes',
    () => speaker.routes().size,
    (size) => size === 0,
  );
  assert.match(speaker.status().peers[0]?.lastError?.text ?? '', /Cease: Administrative Shutdown/);
});
