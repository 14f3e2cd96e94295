import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDecider } from '../decide.ts';
import type { PolicyObject } from '../objects.ts';
import type { Flow, World, WorldPod } from '../world.ts';
import { createIndexedDecider } from './decider.ts';

const CLIENTS = 40;
/** As often long as short. */
const MANY = { maxLength: 90, size: 'max' } as const;

const podOf = (name: string, i: number, labels: Record<string, string>): WorldPod => ({
  namespace: 'a',
  name,
  node: 'node-1',
  labels,
  addresses: [`10.244.1.${i}`],
  ports: [
    { name: 'http', port: 10 + (i % 3), protocol: 'TCP' },
    { name: 'dns', port: 20, protocol: 'UDP' },
  ],
});
const pods = [
  podOf('server', 1, { app: 'server' }),
  ...Array.from({ length: CLIENTS }, (_, i) =>
    podOf(`client-${i}`, i + 2, { app: `c${i}`, odd: `${i % 2}` }),
  ),
];

const numbers = fc
  .tuple(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 30 }))
  .map(([a, b]) => ({ first: Math.min(a, b) + 1, last: Math.max(a, b) + 1 }));
const protocol = fc.constantFrom('TCP' as const, 'TCP' as const, 'UDP' as const, 'SCTP' as const);
const labels = fc.oneof(
  fc.nat(CLIENTS - 1).map((i) => ({ app: `c${i}` })),
  fc.constantFrom<Record<string, string>>({ odd: '1' }, { odd: '0' }, {}),
);

const plainPort = fc.oneof(
  fc
    .tuple(protocol, numbers)
    .map(([name, { first, last }]) => ({ protocol: name, port: first, endPort: last })),
  fc.constantFrom({ port: 'http' }, { protocol: 'UDP' as const, port: 'dns' }),
);
const plainRule = fc
  .tuple(labels, fc.array(plainPort, { maxLength: 2 }), fc.integer({ min: 0, max: 9 }))
  .map(([matchLabels, ports, who]) => ({
    peers: who === 0 ? [] : [{ podSelector: { matchLabels } }],
    ports,
  }));
const plainPolicy = fc.array(plainRule, MANY).map(
  (rules): PolicyObject => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'a', name: 'plain' },
    spec: {
      podSelector: { matchLabels: { app: 'server' } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: rules.map(({ peers, ports }) => ({ from: peers, ports })),
      egress: rules.map(({ peers, ports }) => ({ to: peers, ports })),
    },
  }),
);

const adminRule = fc
  .tuple(fc.constantFrom('Allow' as const, 'Deny' as const, 'Pass' as const), labels, protocol, numbers)
  .map(([action, matchLabels, name, { first, last }]) => ({
    action,
    peers: [{ pods: { namespaceSelector: {}, podSelector: { matchLabels } } }],
    ports: [{ portRange: { protocol: name, start: first, end: last } }],
  }));
const adminPolicy = fc.array(adminRule, MANY).map(
  (rules): PolicyObject => ({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'AdminNetworkPolicy',
    metadata: { name: 'admin' },
    spec: {
      priority: 1,
      subject: { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: 'server' } } } },
      ingress: rules.map(({ action, peers, ports }) => ({ action, from: peers, ports })),
      egress: rules.map(({ action, peers, ports }) => ({ action, to: peers, ports })),
    },
  }),
);

const baselinePolicy = fc.array(adminRule, MANY).map(
  (rules): PolicyObject => ({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { name: 'default' },
    spec: {
      subject: { namespaces: {} },
      ingress: rules.map(({ action, peers, ports }) => ({
        action: action === 'Pass' ? 'Deny' : action,
        from: peers,
        ports,
      })),
    },
  }),
);

const requestRule = fc
  .tuple(labels, numbers, fc.constantFrom(undefined, '/a', '/b', '/.*'))
  .map(([matchLabels, { first, last }, path]) => ({
    fromEndpoints: [{ matchLabels }],
    toPorts: [
      {
        ports: [{ port: `${first}`, endPort: last, protocol: 'TCP' as const }],
        ...(path === undefined ? {} : { rules: { http: [{ path }] } }),
      },
    ],
  }));
const requestPolicy = fc.array(requestRule, MANY).map(
  (ingress): PolicyObject => ({
    apiVersion: 'cilium.io/v2',
    kind: 'CiliumNetworkPolicy',
    metadata: { namespace: 'a', name: 'requests' },
    spec: { endpointSelector: { matchLabels: { app: 'server' } }, ingress },
  }),
);

const worlds = fc
  .subarray([plainPolicy, adminPolicy, requestPolicy, baselinePolicy], { minLength: 1 })
  .chain((chosen) => fc.tuple(...chosen))
  .map(
    (policies): World => ({
      pods,
      namespaces: [{ name: 'a', labels: {} }],
      nodes: [{ name: 'node-1', addresses: ['10.240.0.11'] }],
      policies,
    }),
  );

const flow = fc
  .record({
    client: fc.nat(CLIENTS - 1),
    isCalled: fc.boolean(),
    protocol: fc.oneof(protocol, fc.constant('ICMP' as const)),
    port: fc.integer({ min: 0, max: 33 }),
    path: fc.constantFrom(undefined, '/a', '/b'),
  })
  .map(({ client, isCalled, path, ...rest }): Flow => {
    const ends = [{ pod: `a/client-${client}` }, { pod: 'a/server' }] as const;
    const [src, dst] = isCalled ? ends : [ends[1], ends[0]];
    const request = { type: 'http', method: 'GET', path: path ?? '' } as const;
    return { src, dst, ...rest, ...(path !== undefined && rest.protocol === 'TCP' ? { request } : {}) };
  });

const plainly = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test('of many rules on overlapping ports, in several tiers, it decides the one that the policies say', () => {
  fc.assert(
    fc.property(worlds, fc.array(flow, { minLength: 30, maxLength: 30 }), (world, flows) => {
      const [fast, decide] = [createIndexedDecider()(world), createDecider(world)];
      for (const each of flows) assert.deepEqual(plainly(fast(each)), plainly(decide(each)));
    }),
    { numRuns: 200 },
  );
});
