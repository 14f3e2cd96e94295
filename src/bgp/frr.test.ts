import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { needsRoot } from '../kernel/test-netns.ts';
import { acceptAll } from './rib/filter.ts';
import { frrConfig } from './testing/frr-config.ts';
import { startFrr } from './testing/frr.ts';
import { addHosts, backwards, connect, echo, place, stream } from './testing/lab.ts';
import { speak } from './testing/speak.ts';
import { until } from './testing/until.ts';

const skip = needsRoot;

const peersOf = (peerASN: number) => [
  {
    name: 'frr4',
    peerAddress: '10.1.1.2',
    peerASN,
    families: ['ipv4'] as const,
    importFilter: acceptAll,
    password: 'heddle',
  },
  { name: 'frr6', peerAddress: 'fd00:1:1::2', peerASN, families: ['ipv6'] as const, importFilter: acceptAll },
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

for (const [kind, as] of [
  ['eBGP', 65001],
  ['iBGP', 65002],
] as const)
  test(`FRR and this speaker exchange routes of both families by ${kind}, with TCP MD5, and packets take them`, {
    skip,
  }, async (context) => {
    const { t, node, router } = lab(context);
    const frr = await startFrr(t, router.ns, frrConfig({ peerAs: as }));
    const speaker = speak(t, node, { localASN: as, peers: peersOf(65002) });
    speaker.advertise([
      { prefix: '10.244.1.0/24', communities: ['65001:100', '65001:7:8'] },
      { prefix: 'fd00:10:244:1::/64' },
    ]);
    await until(
      'routes',
      () => [...speaker.routes().keys()],
      (prefixes) => prefixes.length === 4,
    );
    const told = await until(
      'our routes in FRR',
      () => frr.ask('show bgp ipv4 unicast 10.244.1.0/24'),
      (text) => text.includes('best'),
    );
    assert.match(told, /Community: 65001:100/);
    assert.match(told, /Large Community: 65001:7:8/);
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
      () => frr.ask('show bgp ipv4 unicast 10.244.1.0/24'),
      (text) => /not in table/i.test(text),
    );
  });
