import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  BgpAdvertisement,
  BgpNodePeer,
  CiliumBgpAdvertisement,
  CiliumBgpNodeConfig,
  CiliumBgpPeerConfig,
} from '../../api/cilium-bgp-types.ts';
import type { Service } from '../../api/types.ts';
import { checkSpeakerConfig } from '../../bgp/config.ts';
import { compileFilter } from '../../bgp/rib/filter.ts';
import type { ServiceFrontend } from '../../datapath/plan/tables.ts';
import { serviceOf } from '../testing.ts';
import { type BgpNodeWorld, planInstances, routerIdOf } from './bgp-plan.ts';

const families = ['ipv4', 'ipv6'].map((afi) => ({
  afi,
  safi: 'unicast',
  advertisements: { matchLabels: { advertise: 'bgp' } },
}));

const peerConfig = (
  spec: CiliumBgpPeerConfig['spec'] = { families },
  annotations: Record<string, string> = {},
): CiliumBgpPeerConfig => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumBGPPeerConfig',
  metadata: { name: 'usual', annotations },
  spec,
});

const advertisement = (...advertisements: BgpAdvertisement[]): CiliumBgpAdvertisement => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumBGPAdvertisement',
  metadata: { name: 'a', labels: { advertise: 'bgp' } },
  spec: { advertisements },
});

const world = (more: Partial<BgpNodeWorld> = {}): BgpNodeWorld => ({
  addresses: ['10.240.0.1', 'fd00:10:240::1'],
  podCidrs: ['10.244.1.0/24', 'fd00:10:244:1::/64'],
  clusterCidrs: [],
  advertisements: [],
  blocks: [],
  pools: [],
  services: [],
  frontends: [],
  peerConfig: (name) => (name === 'usual' ? peerConfig() : undefined),
  password: () => undefined,
  gateway: () => undefined,
  addressesOf: () => [],
  ...more,
});

const tor: BgpNodePeer = {
  name: 'tor',
  peerAddress: '10.0.0.1',
  peerASN: 64512,
  peerConfigRef: { name: 'usual' },
};

function plan(peers: BgpNodePeer[], more: Partial<BgpNodeWorld> = {}, instance = {}) {
  const config: CiliumBgpNodeConfig = {
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumBGPNodeConfig',
    metadata: { name: 'node-1' },
    spec: { bgpInstances: [{ name: 'main', localASN: 65001, peers, ...instance }] },
  };
  const [planned] = planInstances(config, world(more));
  assert.ok(planned);
  if (planned.config) checkSpeakerConfig(planned.config);
  return planned;
}

test('an instance becomes a speaker that listens where it says, with an identifier of the node’s', () => {
  const { config, problems } = plan([tor]);
  assert.deepEqual(problems, []);
  assert.deepEqual([config?.routerId, config?.localPort, config?.localASN], ['10.240.0.1', 0, 65001]);
  const { config: said } = plan([tor], {}, { routerID: '1.2.3.4', localPort: 1179 });
  assert.deepEqual([said?.routerId, said?.localPort], ['1.2.3.4', 1179]);
  const [one, other] = [['fd00::1'], ['fd00::2']].map(routerIdOf);
  assert.notEqual(one, other);
  assert.match(one ?? '', /^\d+\.\d+\.\d+\.\d+$/);
});

test('how a session is held is what the peer configuration says; graceful restart is off unless it is on', () => {
  const spec = {
    transport: { peerPort: 1179 },
    timers: { connectRetryTimeSeconds: 2_000_000_000, holdTimeSeconds: 9, keepAliveTimeSeconds: 3 },
    gracefulRestart: { enabled: true, restartTimeSeconds: 60 },
    ebgpMultihop: 4,
    authSecretRef: 'key',
    families: families.slice(0, 1),
  };
  const of = (peer: BgpNodePeer) =>
    plan([peer], { peerConfig: () => peerConfig(spec), password: () => ({ text: 'secret' }) }).config
      ?.peers[0];
  const { importFilter, ...rest } = of(tor) ?? assert.fail();
  assert.deepEqual(importFilter, { statements: [] });
  assert.deepEqual(JSON.parse(JSON.stringify(rest)), {
    name: 'tor',
    peerAddress: '10.0.0.1',
    peerASN: 64512,
    peerPort: 1179,
    families: ['ipv4'],
    timers: { connectRetryTimeSeconds: 65535, holdTimeSeconds: 9, keepAliveTimeSeconds: 3 },
    gracefulRestart: { enabled: true, restartTimeSeconds: 60 },
    ebgpMultihop: 4,
    password: 'secret',
  });
  assert.equal(of({ ...tor, peerASN: 65001 })?.ebgpMultihop, undefined, 'ignored within an AS');
  assert.equal(
    plan([{ ...tor, peerConfigRef: undefined }]).config?.peers[0]?.gracefulRestart?.enabled,
    false,
  );
});

for (const [what, peer, more, words] of [
  ['whose configuration is missing', { peerConfigRef: { name: 'x' } }, {}, /no CiliumBGPPeerConfig x/],
  [
    'whose Secret is missing',
    {},
    { peerConfig: () => peerConfig({ authSecretRef: 'key' }) },
    /no Secret kube-system\/key/,
  ],
  [
    'whose Secret has no password',
    {},
    { peerConfig: () => peerConfig({ authSecretRef: 'key' }), password: () => ({ text: undefined }) },
    /has no key "password"/,
  ],
  [
    'whose password is too long',
    {},
    { peerConfig: () => peerConfig({ authSecretRef: 'key' }), password: () => ({ text: 'x'.repeat(81) }) },
    /more than 80 octets/,
  ],
  [
    'that is a gateway which is not there',
    {
      peerAddress: undefined,
      autoDiscovery: { mode: 'DefaultGateway', defaultGateway: { addressFamily: 'ipv6' } },
    },
    {},
    /no default gateway of IPv6/,
  ],
  ['with an own address of the other family', { localAddress: 'fd00::1' }, {}, /not of the family/],
  [
    'with a link that has two addresses',
    {},
    {
      peerConfig: () => peerConfig({ transport: { sourceInterface: 'eth0' } }),
      addressesOf: () => ['10.0.0.2/24', '10.0.0.3/24'],
    },
    /several addresses/,
  ],
] as const)
  test(`a peer ${what} is left out, with the reason, and the others stay`, () => {
    const other = { name: 'other', peerAddress: '10.0.0.9', peerASN: 1 };
    const { config, problems } = plan([{ ...tor, ...peer }, other], more);
    assert.deepEqual(
      config?.peers.map(({ name }) => name),
      ['other'],
    );
    assert.match(problems.join(), words);
  });

test('a default gateway is a peer, by its link where its address is of one link only; twice it is once', () => {
  const found = {
    name: 'gw',
    peerASN: 1,
    autoDiscovery: { mode: 'DefaultGateway', defaultGateway: { addressFamily: 'ipv6' } },
  };
  const { config } = plan([found], { gateway: () => ({ address: 'fe80::1', dev: 'eth0' }) });
  assert.deepEqual([config?.peers[0]?.peerAddress, config?.peers[0]?.interface], ['fe80::1', 'eth0']);
  const { config: one, problems } = plan([tor, found], {
    gateway: () => ({ address: '10.0.0.1', dev: 'eth0' }),
  });
  assert.equal(one?.peers.length, 1);
  assert.match(problems.join(), /10\.0\.0\.1 is peer tor too/);
});

test('without an AS number of its own an instance is none', () => {
  const { config, problems } = plan([tor], {}, { localASN: undefined });
  assert.equal(config, undefined);
  assert.match(problems.join(), /localASN is not said/);
});

test('routes are taken only in the ranges that the annotation names', () => {
  const annotated = peerConfig({ families }, { 'heddle.dev/bgp-import': '10.0.0.0/8,::/0' });
  const [peer] = plan([tor], { peerConfig: () => annotated }).config?.peers ?? [];
  assert.deepEqual(peer?.importFilter?.statements.at(-1)?.match?.prefixes, [
    { prefix: '10.0.0.0/8', ge: 8, le: 32 },
    { prefix: '::/0', ge: 0, le: 128 },
  ]);
});

test('whatever ranges are named, a peer takes over no pod, service or node, nor a part of their ranges', () => {
  const annotated = peerConfig({ families }, { 'heddle.dev/bgp-import': '0.0.0.0/0,::/0' });
  const clusterCidrs = ['10.244.0.0/16', 'fd00:10:244::/48', '10.96.0.0/16', '10.240.0.0/16'];
  const blocks = [{ pool: 'more', cidrs: ['10.50.1.0/24'] }];
  const [peer] = plan([tor], { peerConfig: () => annotated, clusterCidrs, blocks }).config?.peers ?? [];
  const filter = compileFilter(peer?.importFilter ?? assert.fail());
  const isTaken = (prefix: string) =>
    filter({ prefix, attributes: { origin: 'igp', asPath: [] }, source: 'external', prependAs: 1 }) !==
    undefined;
  for (const prefix of [
    '10.244.2.7/32',
    '10.244.0.0/17',
    '10.244.0.0/16',
    'fd00:10:244:2::/64',
    '10.96.0.1/32',
    '10.240.0.2/32',
    '10.50.1.9/32',
  ])
    assert.ok(!isTaken(prefix), prefix);
  for (const prefix of ['0.0.0.0/0', '::/0', '10.0.0.0/8', '10.245.0.0/24', 'fd00:10:245::/48'])
    assert.ok(isTaken(prefix), prefix);
});

test('ranges of pods are told with what the advertisements say of them together', () => {
  const { advertisements } = plan(
    [tor, { ...tor, name: 'quiet', peerAddress: '10.0.0.2', peerConfigRef: undefined }],
    {
      advertisements: [
        advertisement(
          {
            advertisementType: 'PodCIDR',
            attributes: { localPreference: 50, communities: { standard: ['65000:1'] } },
          },
          {
            advertisementType: 'PodCIDR',
            attributes: {
              localPreference: 99,
              communities: { standard: ['4259840099'], wellKnown: ['no-export'], large: ['1:2:3'] },
            },
          },
        ),
      ],
    },
  );
  const communities = ['1:2:3', '65000:1', '65000:99', '65535:65281'];
  assert.deepEqual(advertisements, [
    { prefix: '10.244.1.0/24', communities, localPref: 99, peers: ['tor'] },
    { prefix: 'fd00:10:244:1::/64', communities, localPref: 99, peers: ['tor'] },
  ]);
});

const frontend = (
  kind: ServiceFrontend['kind'],
  address: string,
  more: Partial<ServiceFrontend> = {},
): ServiceFrontend => ({
  service: 'shop/web',
  kind,
  address,
  protocol: 'TCP',
  port: 80,
  backends: [{ address: '10.244.2.2', port: 80 }],
  whenEmpty: 'refuse',
  algorithm: 'random',
  forwarding: 'snat',
  ...more,
});

const all = ['LoadBalancerIP', 'ClusterIP', 'ExternalIP'];
const web = (spec: Service['spec'] = {}): Service => ({ ...serviceOf(spec) });
const frontends = [
  frontend('ClusterIP', '10.96.0.9'),
  frontend('LoadBalancer', '10.240.1.7'),
  frontend('LoadBalancer', 'fd00::7'),
  frontend('ExternalIP', '192.0.2.9'),
  frontend('NodePort', '10.240.0.1'),
];

function told(
  options: BgpAdvertisement['service'],
  more: Partial<BgpNodeWorld> = {},
  selector: object | null = {},
) {
  const one = {
    advertisementType: 'Service',
    service: options,
    ...(selector ? { selector } : {}),
  } as BgpAdvertisement;
  return plan([tor], {
    services: [web()],
    frontends,
    advertisements: [advertisement(one)],
    ...more,
  }).advertisements.map(({ prefix }) => prefix);
}

test('addresses of Services are told by their kind, and node ports never', () => {
  assert.deepEqual(told({ addresses: all }), [
    '10.240.1.7/32',
    '10.96.0.9/32',
    '192.0.2.9/32',
    'fd00::7/128',
  ]);
  assert.deepEqual(told({ addresses: ['ExternalIP'] }), ['192.0.2.9/32']);
  assert.deepEqual(told({ addresses: all, aggregationLengthIPv4: 24, aggregationLengthIPv6: 64 }), [
    '10.240.1.0/24',
    '10.96.0.0/24',
    '192.0.2.0/24',
    'fd00::/64',
  ]);
});

test('Services are selected by labels, by name and by namespace, and none without a selector', () => {
  assert.deepEqual(told({ addresses: ['ExternalIP'] }, {}, null), []);
  assert.deepEqual(told({ addresses: ['ExternalIP'] }, {}, { matchLabels: { tier: 'x' } }), []);
  assert.deepEqual(
    told({ addresses: ['ExternalIP'] }, {}, { matchLabels: { 'io.kubernetes.service.name': 'web' } }),
    ['192.0.2.9/32'],
  );
});

test('a Local address is told alone, and only where there is a backend', () => {
  const services = [web({ externalTrafficPolicy: 'Local', internalTrafficPolicy: 'Local' })];
  const here = [{ address: '10.244.1.2', port: 80, local: true }];
  const of = (backends: typeof here) =>
    told(
      { addresses: all, aggregationLengthIPv4: 24 },
      {
        services,
        frontends: [
          frontend('ClusterIP', '10.96.0.9', { backends }),
          frontend('LoadBalancer', '10.240.1.7', { externalBackends: backends }),
        ],
      },
    );
  assert.deepEqual(of(here), ['10.240.1.7/32', '10.96.0.9/32']);
  assert.deepEqual(of([]), []);
});

test('a class that is another balancer’s keeps an address out of BGP', () => {
  const of = (loadBalancerClass: string) =>
    told({ addresses: ['LoadBalancerIP'] }, { services: [web({ type: 'LoadBalancer', loadBalancerClass })] });
  assert.deepEqual(of('io.cilium/bgp-control-plane'), ['10.240.1.7/32', 'fd00::7/128']);
  assert.deepEqual(of('io.cilium/l2-announcer'), []);
});

test('addresses of a link are told, those of it alone are not', () => {
  const { advertisements } = plan([tor], {
    advertisements: [advertisement({ advertisementType: 'Interface', interface: { name: 'lo' } })],
    addressesOf: (link) =>
      link === 'lo' ? ['127.0.0.1/8', '192.0.2.1/32', '::1/128', 'fe80::1/64', 'fd00::1/128'] : [],
  });
  assert.deepEqual(
    advertisements.map(({ prefix }) => prefix),
    ['192.0.2.1/32', 'fd00::1/128'],
  );
});

test('blocks of pools are told where the node has some, and the selector means the pool', () => {
  const pool = (name: string, labels = {}) =>
    ({
      apiVersion: 'cilium.io/v2alpha1',
      kind: 'CiliumPodIPPool',
      metadata: { name, labels },
      spec: {},
    }) as const;
  const of = (selector: object | undefined) =>
    plan([tor], {
      pools: [pool('blue', { color: 'blue' }), pool('red')],
      blocks: [
        { pool: 'blue', cidrs: ['10.20.3.0/24', 'fd00:20:3::/64'] },
        { pool: 'red', cidrs: ['10.30.3.0/24'] },
        { pool: 'gone', cidrs: ['10.40.3.0/24'] },
      ],
      advertisements: [
        advertisement({ advertisementType: 'CiliumPodIPPool', ...(selector ? { selector } : {}) }),
      ],
    }).advertisements.map(({ prefix }) => prefix);
  assert.deepEqual(of({ matchLabels: { color: 'blue' } }), ['10.20.3.0/24', 'fd00:20:3::/64']);
  assert.deepEqual(of({ matchLabels: { 'io.cilium.podippool.name': 'red' } }), ['10.30.3.0/24']);
  assert.deepEqual(of(undefined), []);
});
