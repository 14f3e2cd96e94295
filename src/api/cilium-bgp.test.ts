import assert from 'node:assert/strict';
import test from 'node:test';
import { ciliumBgpAdvertisement } from './cilium-bgp-advertisement.ts';
import {
  ciliumBgpClusterConfig,
  ciliumBgpNodeConfig,
  ciliumBgpNodeConfigOverride,
} from './cilium-bgp-cluster.ts';
import { ciliumBgpPeerConfig } from './cilium-bgp-peer.ts';
import { BGP_IMPORT, importRanges } from './cilium-bgp-words.ts';
import type { Resource } from './resource.ts';
import type { ObjectMeta } from './types.ts';

/** `field: words` of each problem, after defaults. */
function problems<T extends { metadata: ObjectMeta }>(
  resource: Resource<T>,
  spec: unknown,
  annotations = {},
) {
  const object = { metadata: { name: 'x', annotations }, spec } as unknown as T;
  return resource
    .validate(resource.applyDefaults(object))
    .map(({ field, message }) => `${field}: ${message}`);
}

const peer = { name: 'tor', peerAddress: '10.0.0.1', peerASN: 64512 };
const cluster = (...instances: unknown[]) =>
  problems(ciliumBgpClusterConfig, { bgpInstances: instances }).join('\n');
const instance = (more = {}) => ({ name: 'i', localASN: 65001, peers: [peer], ...more });

test('what a cluster of Cilium’s documentation says is taken', () => {
  assert.equal(cluster(instance({ localPort: 179, peers: [{ ...peer, peerConfigRef: { name: 'c' } }] })), '');
  assert.equal(cluster({ name: 'without' }), '');
  assert.deepEqual(
    problems(ciliumBgpPeerConfig, {
      timers: { holdTimeSeconds: 9, keepAliveTimeSeconds: 3 },
      authSecretRef: 'key',
      gracefulRestart: { enabled: true },
      transport: { peerPort: 1179, sourceInterface: 'eth0' },
      families: [{ afi: 'ipv4', safi: 'unicast', advertisements: { matchLabels: { advertise: 'bgp' } } }],
    }),
    [],
  );
  assert.deepEqual(
    problems(ciliumBgpAdvertisement, {
      advertisements: [
        {
          advertisementType: 'PodCIDR',
          attributes: { communities: { standard: ['65000:99', '4259840099'] } },
        },
        {
          advertisementType: 'Service',
          service: { addresses: ['LoadBalancerIP', 'ClusterIP', 'ExternalIP'], aggregationLengthIPv4: 24 },
          selector: { matchExpressions: [{ key: 'none', operator: 'NotIn', values: ['x'] }] },
          attributes: {
            localPreference: 99,
            communities: { wellKnown: ['no-export'], large: ['64512:1:4294967295'] },
          },
        },
        { advertisementType: 'Interface', interface: { name: 'lo' } },
        { advertisementType: 'CiliumPodIPPool', selector: {} },
      ],
    }),
    [],
  );
  assert.deepEqual(
    problems(ciliumBgpNodeConfigOverride, {
      bgpInstances: [{ name: 'i', routerID: '1.2.3.4', peers: [{ name: 'tor', localAddress: 'fd00::1' }] }],
    }),
    [],
  );
});

for (const [what, spec, words] of [
  ['no instance', [], /bgpInstances: Required value/],
  ['two of a name', [instance(), instance()], /bgpInstances\[1\]\.name: Duplicate value: "i"/],
  [
    'a port of two',
    [instance({ localPort: 1 }), { name: 'b', localPort: 1 }],
    /\[1\]\.localPort.*instance i/,
  ],
  ['a reserved AS number', [instance({ localASN: 23456 })], /localASN: Invalid value: 23456: is reserved/],
  ['an AS number out of range', [instance({ localASN: -1 })], /localASN: Invalid value: -1: must be between/],
  ['any AS number', [instance({ peers: [{ ...peer, peerASN: 0 }] })], /peerASN: Required.*OPEN/],
  ['no AS number', [instance({ peers: [{ ...peer, peerASN: undefined }] })], /peerASN: Required.*OPEN/],
  ['a wrong address', [instance({ peers: [{ ...peer, peerAddress: '10.0.0' }] })], /peerAddress: Invalid/],
  ['no address', [instance({ peers: [{ name: 'a', peerASN: 1 }] })], /one of peerAddress or autoDiscovery/],
  ['one address twice', [instance({ peers: [peer, { ...peer, name: 'b' }] })], /is peer tor’s too/],
  ['a link-local address', [instance({ peers: [{ ...peer, peerAddress: 'fe80::1' }] })], /of one link only/],
  [
    'a peer to be found on a link',
    [instance({ peers: [{ name: 'a', peerASN: 1, autoDiscovery: { mode: 'Unnumbered' } }] })],
    /mode: Forbidden: BGP unnumbered .* is not supported/,
  ],
  [
    'a gateway of no family',
    [instance({ peers: [{ name: 'a', peerASN: 1, autoDiscovery: { mode: 'DefaultGateway' } }] })],
    /defaultGateway: Required/,
  ],
] as const)
  test(`a cluster with ${what} is refused by name`, () => assert.match(cluster(...spec), words));

for (const [what, spec, words] of [
  ['a family that is not spoken', { families: [{ afi: 'l2vpn', safi: 'evpn' }] }, /afi: Forbidden.*l2vpn/],
  ['no family at all', { families: [{ afi: 'ipx', safi: 'unicast' }] }, /afi: Unsupported value: "ipx"/],
  [
    'a family twice',
    { families: [1, 2].map(() => ({ afi: 'ipv4', safi: 'unicast' })) },
    /families\[1\]: Duplicate value: "ipv4\/unicast"/,
  ],
  ['a hold time too short', { timers: { holdTimeSeconds: 2 } }, /holdTimeSeconds: Invalid value: 2/],
  ['keepalives too far apart', { timers: { holdTimeSeconds: 9 } }, /can not be larger than holdTimeSeconds/],
  ['a port out of range', { transport: { peerPort: 70000 } }, /peerPort: Invalid value: 70000/],
  ['too many hops', { ebgpMultihop: 256 }, /ebgpMultihop: Invalid value: 256/],
  ['an empty secret', { authSecretRef: '' }, /authSecretRef: Required/],
] as const)
  test(`a peer configuration with ${what} is refused`, () =>
    assert.match(problems(ciliumBgpPeerConfig, spec).join('\n'), words));

for (const [what, one, words] of [
  ['of nothing known', { advertisementType: 'Pod' }, /advertisementType: Unsupported value: "Pod"/],
  ['of Services without addresses', { advertisementType: 'Service' }, /service: Required/],
  [
    'of a wrong address',
    { advertisementType: 'Service', service: { addresses: ['NodePort'] } },
    /addresses\[0\]: Unsupported value: "NodePort"/,
  ],
  ['of no link', { advertisementType: 'Interface' }, /interface\.name: Required/],
  ...(
    [
      ['standard', '65536:1'],
      ['standard', '01:1'],
      ['standard', '1:2:3'],
      ['wellKnown', 'toString'],
      ['large', '1:2'],
    ] as const
  ).map(
    ([kind, value]) =>
      [
        `with ${kind} ${value}`,
        { advertisementType: 'PodCIDR', attributes: { communities: { [kind]: [value] } } },
        new RegExp(`communities\\.${kind}\\[0\\]: (Invalid|Unsupported) value`),
      ] as const,
  ),
] as const)
  test(`an advertisement ${what} is refused`, () =>
    assert.match(problems(ciliumBgpAdvertisement, { advertisements: [one] }).join('\n'), words));

test('ranges of routes to take are an annotation, and checked', () => {
  const of = (text: string) => problems(ciliumBgpPeerConfig, {}, { [BGP_IMPORT]: text }).join('\n');
  assert.equal(of('10.0.0.0/8, fd00::/8'), '');
  assert.match(of('all'), /heddle\.dev\/bgp-import\]: Invalid value: "all"/);
  assert.match(of(' ,'), /must name ranges/);
  assert.deepEqual(importRanges({ [BGP_IMPORT]: '10.0.0.0/8, x,fd00::/8' }), ['10.0.0.0/8', 'fd00::/8']);
  assert.deepEqual(importRanges(undefined), []);
});

test('a node’s peer on a link is named with the link', () => {
  const of = (more: object) =>
    problems(ciliumBgpNodeConfig, { bgpInstances: [instance({ peers: [{ ...peer, ...more }] })] }).join('\n');
  assert.equal(of({ peerAddress: 'fe80::1', peerInterface: 'eth0' }), '');
  assert.match(of({ peerInterface: 'eth0' }), /must be an IPv6 link-local address/);
  assert.match(
    of({ peerAddress: 'fe80::1', peerInterface: 'eth0', localAddress: 'fe80::2' }),
    /localAddress: Forbidden/,
  );
});
