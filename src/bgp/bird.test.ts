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

const peersOf = (peerASN: number) => [
  { name: 'bird4', peerAddress: '10.1.1.2', peerASN, families: ['ipv4'] as const, importFilter: acceptAll },
  {
    name: 'bird6',
    peerAddress: 'fd00:1:1::2',
    peerASN,
    families: ['ipv6'] as const,
    importFilter: acceptAll,
  },
];

function lab(test: TestContext) {
  const t = backwards(test);
  const [node, router] = [place(t), place(t)];
  connect(node, router, 'uplink', 1);
  addHosts(node, '10.244.1.5/32', 'fd00:10:244:1::5/128');
  addHosts(router, '192.168.50.1/32', 'fd00:50::1/128');
  echo(t, router, '192.168.50.1');
  echo(t, router, 'fd00:50::1');
  return { t, node, router };
}

const podRanges = [
  { prefix: '10.244.1.0/24', communities: ['65001:100', '65001:7:8'] },
  { prefix: 'fd00:10:244:1::/64' },
];

for (const [kind, as] of [
  ['eBGP', 65001],
  ['iBGP', 65002],
  ['eBGP with AS numbers of four octets', 4200000001],
] as const)
  test(`bird and this speaker exchange routes of both families by ${kind}, and packets take them`, {
    skip,
  }, async (context) => {
    const { t, node, router } = lab(context);
    const bird = await startBird(t, router.ns, birdConfig({ peerAs: as }));
    const speaker = speak(t, node, { localASN: as, peers: peersOf(65002) });
    speaker.advertise(podRanges);
    await until(
      'both sessions',
      () => speaker.status().peers.map(({ state }) => state),
      (states) => states.every((state) => state === 'established'),
    );
    await until(
      'routes',
      () => [...speaker.routes().keys()],
      (prefixes) => prefixes.length === 5,
    );
    const [learned] = speaker.routes().get('192.168.50.0/24') ?? [];
    assert.deepEqual(learned?.attributes.communities, ['65002:50']);
    assert.deepEqual(learned?.attributes.largeCommunities, ['65002:1:50']);
    const told = await until(
      'our routes in bird',
      () => bird.ask('show route all 10.244.1.0/24'),
      (text) => text.includes('BGP.as_path'),
    );
    assert.match(told, /\(65001,100\)/);
    assert.match(told, /\(65001, 7, 8\)/);
    assert.match(told, kind === 'iBGP' ? /BGP\.as_path: *\n/ : new RegExp(`BGP.as_path: ${as}`));
    for (const [from, to] of [
      ['10.244.1.5', '192.168.50.1'],
      ['fd00:10:244:1::5', 'fd00:50::1'],
    ] as const) {
      const packets = stream(t, node, from, to);
      await until(
        `echoes from ${to}`,
        () => packets.echoed.size,
        (count) => count > 3,
      );
      packets.stop();
    }
    speaker.advertise([]);
    await until(
      'the withdrawal',
      () => bird.ask('show route 10.244.1.0/24'),
      (text) => /not found/i.test(text),
    );
    await bird.ask('disable heddle4');
    await until(
      'what bird told to be gone',
      () => node.route.routes().filter(({ dst }) => dst === '192.168.50.0/24'),
      (left) => left.length === 0,
    );
    assert.match(speaker.status().peers[0]?.lastError?.text ?? '', /Administrative Shutdown/);
  });
