import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { contains, overlaps, parseAddress, parseCidr } from '../lib/ip.ts';
import { type ClusterRequest, MAX_NODES, outsideAddresses, planCluster } from './plan.ts';

const request = (more: Partial<ClusterRequest> = {}): ClusterRequest => ({
  id: '00c0ffee',
  nodes: 2,
  apiPort: 6443,
  standIn: false,
  datapath: 'nftables',
  ...more,
});

test('the defaults give every node both families', () => {
  const config = planCluster(request());
  assert.deepEqual(config.nodes[1], {
    name: 'node-2',
    addresses: ['10.240.0.2', 'fd00:10:240::2'],
    podCidrs: ['10.244.1.0/24', 'fd00:10:244:1::/64'],
  });
  assert.deepEqual(config.dnsAddresses, ['10.96.0.10', 'fd00:10:96::a']);
  assert.deepEqual(config.apiServer.addresses, ['10.240.0.253', 'fd00:10:240::fd']);
  assert.deepEqual(outsideAddresses(config), ['10.240.0.254', 'fd00:10:240::fe']);
});

test("the balancers' ranges are the second block of the underlay, or the one next to it", () => {
  const ranges = (more: Partial<ClusterRequest> = {}) => planCluster(request(more)).balancerCidrs;
  assert.deepEqual(ranges(), ['10.240.1.0/24', 'fd00:10:240::1:0/112']);
  assert.deepEqual(ranges({ underlayCidr: '172.16.0.0/16' })?.[0], '172.16.1.0/24');
  assert.deepEqual(ranges({ underlayCidr: '172.16.0.0/26' })?.[0], '172.16.0.64/26');
  assert.deepEqual(ranges({ underlayCidr: '10.243.255.0/24' }), ['fd00:10:240::1:0/112'], 'pods are there');
});

test('for any number of nodes, addresses are distinct and inside, and pod blocks do not overlap', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: MAX_NODES }), (nodes) => {
      const config = planCluster(request({ nodes }));
      const addresses = [
        ...config.nodes.flatMap((node) => node.addresses),
        ...config.apiServer.addresses,
        ...outsideAddresses(config),
      ];
      assert.equal(new Set(addresses).size, addresses.length);
      const underlay = config.underlayCidrs.map(parseCidr);
      for (const address of addresses)
        assert.ok(underlay.some((cidr) => contains(cidr, parseAddress(address))));
      for (const range of (config.balancerCidrs ?? []).map(parseCidr))
        assert.ok(!addresses.some((address) => contains(range, parseAddress(address))));
      const blocks = config.nodes.flatMap((node) => node.podCidrs).map(parseCidr);
      assert.equal(new Set(config.nodes.flatMap((node) => node.podCidrs)).size, 2 * nodes);
      for (const [i, a] of blocks.entries())
        for (const b of blocks.slice(i + 1, i + 4)) assert.ok(!overlaps(a, b));
    }),
    { numRuns: 20 },
  );
});

test('one family may be chosen alone, in any order', () => {
  assert.deepEqual(planCluster(request({ podCidr: '10.50.0.0/16' })).podCidrs, [
    '10.50.0.0/16',
    'fd00:10:244::/48',
  ]);
  assert.deepEqual(planCluster(request({ podCidr: 'fd01::/48, 10.50.0.0/16' })).podCidrs, [
    '10.50.0.0/16',
    'fd01::/48',
  ]);
});

test('a cluster of one family has nothing of the other, and pods as much as its tunnels leave them', () => {
  for (const [family, mtu] of [
    [4, 1450],
    [6, 1430],
  ] as const) {
    const config = planCluster(request({ families: [family] }));
    const texts = [
      ...config.nodes.flatMap(({ addresses, podCidrs }) => [...addresses, ...podCidrs]),
      ...[config.podCidrs, config.serviceCidrs, config.underlayCidrs, config.balancerCidrs ?? []].flat(),
      ...[config.dnsAddresses, config.apiServer.addresses, outsideAddresses(config)].flat(),
    ];
    assert.deepEqual(
      texts.filter((text) => text.includes(':') !== (family === 6)),
      [],
    );
    assert.equal(config.podMtu, mtu);
  }
});

for (const [what, more, code, words] of [
  ['a range of the other family', { families: [6], podCidr: '10.0.0.0/8' }, 'BadFlag', 'IPv6 only'],
  ['no nodes', { nodes: 0 }, 'BadFlag', '1 to 250'],
  ['too many nodes', { nodes: 251 }, 'BadFlag', '1 to 250'],
  ['half a node', { nodes: 1.5 }, 'BadFlag', '1 to 250'],
  ['no range', { podCidr: '10.0.0.0' }, 'BadCidr', '--pod-cidr'],
  ['no number', { serviceCidr: 'x' }, 'BadCidr', '--service-cidr'],
  ['two of a family', { podCidr: '10.0.0.0/16,10.1.0.0/16' }, 'BadFlag', '10.1.0.0/16'],
  ['pods over services', { podCidr: '10.96.0.0/12' }, 'RangesOverlap', '--service-cidr 10.96.0.0/16'],
  [
    'services over nodes',
    { serviceCidr: 'fd00:10:240::/112' },
    'RangesOverlap',
    '--underlay-cidr fd00:10:240::/64',
  ],
  ['loopback', { podCidr: '127.0.0.0/8' }, 'RangesOverlap', 'loopback'],
  ['everything', { podCidr: '0.0.0.0/0' }, 'RangesOverlap', '0.0.0.0/8'],
  ['too few blocks', { podCidr: '10.50.0.0/24' }, 'RangeTooSmall', 'each needs a /24, it holds 1'],
  ['less than a block', { podCidr: 'fd01::/65', nodes: 1 }, 'RangeTooSmall', 'it holds 0'],
  ['a small underlay', { underlayCidr: '10.9.0.0/30' }, 'RangeTooSmall', 'it holds 0'],
  ['a small service range', { serviceCidr: '10.9.0.0/29' }, 'RangeTooSmall', '/12 to /28'],
  ['a huge service range', { serviceCidr: 'fd02::/64' }, 'BadFlag', '/108 to /124'],
  ['a bad domain', { clusterDomain: 'Cluster.Local.' }, 'BadFlag', 'Cluster.Local.'],
] as const)
  test(`${what}: refused, by name`, () => {
    assert.throws(
      () => planCluster(request(more)),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, code);
        assert.match(error.message, new RegExp(words.replaceAll('.', '\\.')));
        return true;
      },
    );
  });

test('the smallest underlay holds what it says', () => {
  const config = planCluster(request({ underlayCidr: '10.9.0.0/29', nodes: 4 }));
  assert.deepEqual(config.nodes.at(-1)?.addresses, ['10.9.0.4', 'fd00:10:240::4']);
  assert.deepEqual(outsideAddresses(config), ['10.9.0.6', 'fd00:10:240::6']);
  assert.throws(() => planCluster(request({ underlayCidr: '10.9.0.0/29', nodes: 5 })), {
    code: 'RangeTooSmall',
  });
});

test('nonsense is refused with an error a user can read, never a crash', () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.constantFrom('podCidr', 'serviceCidr', 'underlayCidr', 'clusterDomain'),
      (text, field) => {
        try {
          planCluster(request({ [field]: text }));
        } catch (error) {
          assert.equal((error as Error).name, 'HeddleError');
        }
      },
    ),
  );
});

test('--node-mask says how large nodes’ blocks are, of one family or both, and is refused where it cannot be', () => {
  const blocks = (nodeMask: string, more = {}) =>
    planCluster(request({ nodeMask, ...more })).nodes[1]?.podCidrs;
  assert.deepEqual(blocks('26'), ['10.244.0.64/26', 'fd00:10:244:1::/64']);
  assert.deepEqual(blocks('26,80'), ['10.244.0.64/26', 'fd00:10:244:0:1::/80']);
  assert.deepEqual(planCluster(request({ nodeMask: '26' })).nodeMask, { 4: 26, 6: 64 });
  for (const bad of ['', '15', '30', '24,47', '24,126', '24,64,1', 'x', '/24', '-1'])
    assert.throws(() => blocks(bad), { code: 'BadFlag' }, bad);
  assert.throws(() => blocks('16'), { code: 'RangeTooSmall' });
});
