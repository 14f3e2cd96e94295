/** Random worlds and flows for tests: small alphabets, so that things meet often. */
import fc from 'fast-check';
import { STAGE } from '../../api/labels.ts';
import type { NetworkPolicy } from '../../api/types.ts';
import type { PolicyObject } from '../objects.ts';
import type { Flow, FlowEnd, World, WorldNode, WorldPod } from '../world.ts';
import { clusterPolicies } from './cluster-policies.ts';

const namespaces = ['a', 'b'];
const names = ['http', 'dns', 'alt'];
const protocols = ['TCP', 'UDP', 'SCTP'] as const;
const nodes: WorldNode[] = [
  { name: 'node-1', addresses: ['10.240.0.11', 'fd00:10:240::b'], labels: { zone: 'x' } },
  {
    name: 'node-2',
    addresses: ['10.240.0.12', 'fd00:10:240::c'],
    labels: { zone: 'y', old: '' },
    externalAddresses: ['8.8.8.8'],
  },
];

const labels = fc
  .record(
    { app: fc.constantFrom('web', 'db'), tier: fc.constantFrom('x', 'y'), old: fc.constant('') },
    { requiredKeys: [] },
  )
  .map((record): Record<string, string> => ({ ...record }));

const port = fc.constantFrom(53, 80, 81, 82, 443, 8080, 65535);

const podPorts = fc.array(
  fc.record({
    name: fc.option(fc.constantFrom(...names), { nil: undefined }),
    port,
    protocol: fc.constantFrom(...protocols),
  }),
  { maxLength: 4 },
);

const pod = (i: number): fc.Arbitrary<WorldPod> =>
  fc.record({
    namespace: fc.constantFrom(...namespaces),
    name: fc.constant(`p${i}`),
    node: fc.constantFrom('node-1', 'node-2'),
    labels,
    addresses: fc.constantFrom(
      [`10.244.1.${i}`, `fd00:10:244:1::${i}`],
      [`10.244.1.${i + 1}0`, `fd00:10:244:1::${i + 1}0`],
      [`10.244.2.${i}`, `fd00:10:244:2::${i}`],
      [`10.244.1.${i + 8}`],
      [`fd00:10:244:2:0::${i + 8}`],
    ),
    ports: podPorts,
    hostNetwork: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    serviceAccount: fc.constantFrom(undefined, undefined, 'robot', 'default'),
  });

const expression = fc.oneof(
  fc.record({
    key: fc.constantFrom('app', 'tier', 'old'),
    operator: fc.constantFrom('In', 'NotIn'),
    values: fc.uniqueArray(fc.constantFrom('web', 'db', 'x', ''), { minLength: 1, maxLength: 2 }),
  }),
  fc.record({
    key: fc.constantFrom('app', 'tier', 'old'),
    operator: fc.constantFrom('Exists', 'DoesNotExist'),
  }),
);

const selector = fc.oneof(
  fc.constant({}),
  fc.record({ matchLabels: labels }),
  fc.record({ matchLabels: labels, matchExpressions: fc.array(expression, { maxLength: 2 }) }),
);

const namespaceSelector = fc.oneof(
  selector,
  fc.constantFrom(...namespaces).map((name) => ({ matchLabels: { 'kubernetes.io/metadata.name': name } })),
);

const ipBlock = fc.oneof(
  fc
    .constantFrom('0.0.0.0/0', '10.0.0.0/8', '10.244.0.0/16', '10.244.1.0/28', '10.244.1.2/32')
    .chain((cidr) =>
      fc.record({
        cidr: fc.constant(cidr),
        except: fc
          .uniqueArray(
            fc.constantFrom(
              '10.244.0.0/16',
              '10.244.1.0/24',
              '10.244.1.0/29',
              '10.240.0.0/24',
              '10.244.1.3/32',
            ),
            {
              maxLength: 3,
            },
          )
          .map((list) => list.filter((e) => Number(e.split('/')[1]) > Number(cidr.split('/')[1]))),
      }),
    ),
  fc.constantFrom(
    { cidr: '::/0', except: ['fd00:10:244:1::/64', 'fd00:10:240::/64'] },
    { cidr: 'fd00:10:244::/48' },
    { cidr: 'fd00:10:244:2::/64', except: ['fd00:10:244:2::8/125'] },
  ),
);

const peer = fc.oneof(
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector }),
  fc.record({ namespaceSelector, podSelector: selector }),
  fc.record({ ipBlock }),
);

const policyPort = fc.oneof(
  fc.record({ protocol: fc.constantFrom(...protocols) }),
  fc.record({ port: fc.oneof(port, fc.constantFrom(...names)), protocol: fc.constantFrom(...protocols) }),
  fc.record({ port: fc.constantFrom(...names) }),
  fc
    .tuple(fc.constantFrom(1, 53, 80, 81), fc.constantFrom(81, 443, 65535))
    .map(([first, endPort]) => ({ port: first, endPort })),
);

const rule = (peers: 'from' | 'to') =>
  fc
    .record(
      { peers: fc.array(peer, { maxLength: 3 }), ports: fc.array(policyPort, { maxLength: 3 }) },
      { requiredKeys: [] },
    )
    .map(({ peers: list, ports }) => ({ ...(list ? { [peers]: list } : {}), ...(ports ? { ports } : {}) }));

export const policy = (i: number): fc.Arbitrary<NetworkPolicy> =>
  fc
    .record({
      namespace: fc.constantFrom(...namespaces),
      podSelector: selector,
      policyTypes: fc.constantFrom(undefined, [], ['Ingress'], ['Egress'], ['Ingress', 'Egress']),
      ingress: fc.option(fc.array(rule('from'), { maxLength: 2 }), { nil: undefined }),
      egress: fc.option(fc.array(rule('to'), { maxLength: 2 }), { nil: undefined }),
    })
    .map(({ namespace, ...spec }) => policyObject(namespace, `policy-${i}`, spec));

const ofCluster = clusterPolicies({
  pods: selector,
  namespaces: namespaceSelector,
  nodes: fc.constantFrom(
    {},
    { matchLabels: { zone: 'x' } },
    { matchLabels: { zone: 'y' } },
    { matchExpressions: [{ key: 'old', operator: 'DoesNotExist' }] },
  ),
  networks: ['0.0.0.0/0', '::/0', '10.244.0.0/16', '10.244.1.0/28', '10.244.1.2/32', 'fd00:10:244:2::/64'],
  ports: port,
  names,
});

/** Takes the spec unchecked: tests draw malformed ones too. */
export function policyObject(namespace: string, name: string, spec: unknown): NetworkPolicy {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name },
    spec: spec as NetworkPolicy['spec'],
  };
}

/** Sizes are drawn evenly: left alone, fast-check prefers the smallest. */
export const some = <T>(sizes: readonly number[], one: (i: number) => fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  fc.constantFrom(...sizes).chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => one(i + 1))));

export const worldsOf = (policies: fc.Arbitrary<PolicyObject[]>): fc.Arbitrary<World> =>
  fc.record({
    pods: some([2, 3, 4, 6], pod),
    // The other namespace is known by its pods only.
    namespaces: labels.map((a) => [{ name: 'a', labels: a }]),
    nodes: fc.constant(nodes),
    policies,
    nodeLocal: fc.constantFrom([], ['10.96.0.10', 'fd00:10:96::a']),
  });

/** Nobody else’s policies beside NetworkPolicies. */
export const namespacedWorlds = worldsOf(some([1, 2, 3, 5, 8], policy));

const anyPolicies: fc.Arbitrary<PolicyObject[]> = fc
  .tuple(
    some([0, 1, 2, 4], policy),
    some([0, 1, 2], ofCluster.admin),
    some([0, 1, 2], ofCluster.cluster),
    some([0, 1], () => ofCluster.baseline),
  )
  .map((lists) => lists.flat());

/** With policies of all languages, all of them enforced. */
export const worlds = worldsOf(fc.oneof(some([1, 2, 3, 5, 8], policy), anyPolicies, anyPolicies));

/** Some of the policies, or their namespace, are in another stage. */
export const stagedWorlds: fc.Arbitrary<World> = fc
  .tuple(
    worlds,
    fc.array(fc.constantFrom(undefined, 'audit', 'enforce', 'nonsense'), { minLength: 16, maxLength: 16 }),
    fc.constantFrom(undefined, 'audit'),
  )
  .map(([world, stages, ofNamespace]) => ({
    ...world,
    policies: world.policies.map((object, i) => staged(object, stages[i])),
    namespaces: world.namespaces.map(({ name, labels: own }) => ({
      name,
      labels: ofNamespace === undefined ? own : { ...own, [STAGE]: ofNamespace },
    })),
  }));

/** The same object in this stage. */
export const staged = <T extends PolicyObject>(object: T, stage: string | undefined): T =>
  stage === undefined ? object : { ...object, metadata: { ...object.metadata, labels: { [STAGE]: stage } } };

const outside4 = ['10.240.0.11', '10.240.0.12', '10.96.0.10', '8.8.8.8', '10.244.1.14', '10.244.9.9'];
const outside6 = ['fd00:10:240::b', 'fd00:10:240::c', 'fd00:10:96::a', '2001:db8::1', 'fd00:10:244:2::f'];

/** Flows between ends that have an address in the flow's family. */
export function flowsIn(world: World): fc.Arbitrary<Flow> {
  return fc.constantFrom<4 | 6>(4, 6).chain((family) => {
    const inFamily = (address: string) => address.includes(':') === (family === 6);
    const pods = world.pods.filter((p) => (p.hostNetwork ? true : p.addresses.some(inFamily)));
    const ends: FlowEnd[] = [
      ...(family === 4 ? outside4 : outside6).map((address) => ({ address })),
      ...pods.flatMap((p) => p.addresses.filter(inFamily).map((address) => ({ address }))),
    ];
    const podEnds = pods.map((p) => ({ pod: `${p.namespace}/${p.name}` }));
    const anyEnd = fc.constantFrom(...ends, ...podEnds);
    const end =
      podEnds.length === 0
        ? anyEnd
        : fc.oneof(anyEnd, fc.constantFrom(...podEnds), fc.constantFrom(...podEnds));
    const transport = fc.oneof(
      { weight: 6, arbitrary: fc.record({ protocol: fc.constantFrom(...protocols), port }) },
      { weight: 1, arbitrary: fc.record({ protocol: fc.constantFrom('ICMP' as const, 'OTHER' as const) }) },
    );
    return fc
      .record({ src: end, dst: end, transport })
      .map(({ src, dst, transport }) => ({ src, dst, family, ...transport }));
  });
}
