/** Random policies, tiers and network sets of Calico for tests. Selectors are drawn with their meaning beside them. */
import fc from 'fast-check';
import type { CalicoEntityRule, CalicoPolicy, CalicoRule } from '../../api/calico-types.ts';
import type { PolicyObject } from '../objects.ts';
import type { Request } from '../request.ts';
import type { Flow, World, WorldAddressSet, WorldService, WorldTier } from '../world.ts';
import { flowsIn, policyObject, some, worldsOf } from './arbitraries.ts';

type Labels = Readonly<Record<string, string>>;

/** What each text means, by the API reference: of the labels that whatever is selected has. */
export const SELECTORS: Readonly<Record<string, (labels: Labels) => boolean>> = {
  'all()': () => true,
  "app == 'web'": (l) => l['app'] === 'web',
  'app != "web"': (l) => l['app'] !== 'web',
  "app in {'web', 'db'} && !has(old)": (l) => (l['app'] === 'web' || l['app'] === 'db') && !('old' in l),
  'tier not in {"x"}': (l) => l['tier'] !== 'x',
  'has(old) || (tier == "y")': (l) => 'old' in l || l['tier'] === 'y',
  "app starts with 'w'": (l) => l['app']?.startsWith('w') ?? false,
  "!(tier contains 'x')": (l) => !(l['tier']?.includes('x') ?? false),
};

/** Of those over labels of several owners; a policy's own pods are selected by the first two kinds alone. */
export const JOINT_SELECTORS: typeof SELECTORS = {
  "projectcalico.org/namespace == 'a' && app == 'db'": (l) =>
    l['projectcalico.org/namespace'] === 'a' && l['app'] === 'db',
  "projectcalico.org/serviceaccount in {'robot'} && pcns.tier != 'x'": (l) =>
    l['projectcalico.org/serviceaccount'] === 'robot' && l['pcns.tier'] !== 'x',
};

export const MIXED_SELECTORS: typeof SELECTORS = {
  "projectcalico.org/namespace == 'a' || app == 'db'": (l) =>
    l['projectcalico.org/namespace'] === 'a' || l['app'] === 'db',
  "!(has(pcsa.trust) && projectcalico.org/orchestrator == 'k8s' && tier == 'x')": (l) =>
    !('pcsa.trust' in l && l['projectcalico.org/orchestrator'] === 'k8s' && l['tier'] === 'x'),
};

/** Of namespaces. */
export const NAMESPACE_SELECTORS: typeof SELECTORS = {
  "projectcalico.org/name == 'a'": (l) => l['projectcalico.org/name'] === 'a',
  "app == 'web' || tier == 'y'": (l) => l['app'] === 'web' || l['tier'] === 'y',
  '!has(app)': (l) => !('app' in l),
};

/** Of service accounts. */
export const ACCOUNT_SELECTORS: typeof SELECTORS = {
  "trust == 'high'": (l) => l['trust'] === 'high',
  "projectcalico.org/name ends with 't'": (l) => l['projectcalico.org/name']?.endsWith('t') ?? false,
  '!has(trust)': (l) => !('trust' in l),
};

const oneOf = (...tables: (typeof SELECTORS)[]): fc.Arbitrary<string> =>
  fc.constantFrom(...tables.flatMap((table) => Object.keys(table)));

const PORTS = ['TCP', 'UDP', 'SCTP', 6];
const ranges4 = ['0.0.0.0/0', '10.244.0.0/16', '10.244.1.0/28', '10.244.2.1/32', '8.8.8.0/24'];
const ranges6 = ['::/0', 'fd00:10:244::/48', 'fd00:10:244:2::/64'];
const port = fc.constantFrom(80, '81', '53:81', 443, '1:65535');
const named = fc.constantFrom('http', 'dns');

interface Features {
  /** What tables cannot tell apart. */
  readonly fine: boolean;
  readonly requests: boolean;
}

const list = <T>(one: fc.Arbitrary<T>, maxLength = 2) => fc.uniqueArray(one, { minLength: 1, maxLength });

const selecting = fc.record(
  {
    selector: oneOf(SELECTORS, JOINT_SELECTORS, MIXED_SELECTORS),
    notSelector: oneOf(SELECTORS, MIXED_SELECTORS),
    namespaceSelector: fc.oneof(oneOf(NAMESPACE_SELECTORS), fc.constantFrom('all()', 'global()')),
    serviceAccounts: fc.record(
      {
        names: fc.constantFrom<string[][]>(['robot'], ['robot', 'default'], []),
        selector: oneOf(ACCOUNT_SELECTORS),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: [] },
);

const sparsely = <T extends object>(one: fc.Arbitrary<T>): fc.Arbitrary<T | Record<string, never>> =>
  fc.oneof({ weight: 1, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: one });

const nets = fc
  .constantFrom(ranges4, ranges6)
  .chain((ranges) =>
    fc.record(
      { nets: list(fc.constantFrom(...ranges)), notNets: list(fc.constantFrom(...ranges)) },
      { requiredKeys: [] },
    ),
  );

/** The pod's own end: selectors that can be joined to the policy's. */
const own = fc.record(
  {
    selector: oneOf(SELECTORS, JOINT_SELECTORS),
    notSelector: oneOf(SELECTORS),
    serviceAccounts: fc.record({ names: fc.constant<string[]>(['robot']) }),
  },
  { requiredKeys: [] },
);

const ports = fc.oneof(
  fc.record({ ports: fc.uniqueArray(fc.oneof(port, named), { minLength: 1, maxLength: 3 }) }),
  fc.record({ ports: list(port), notPorts: list(fc.constantFrom(80, '60:80', 65535)) }),
  fc.record({ notPorts: list(fc.constantFrom(80, '60:80', 65535)) }),
);

const what = ({ fine }: Features): fc.Arbitrary<Partial<CalicoRule>> =>
  fc.oneof(
    fc.constant({}),
    fc.record({ protocol: fc.constantFrom(...PORTS, 'ICMP', 'icmpv6', 47, 'UDPLite') }),
    fc.record({ notProtocol: fc.constantFrom('TCP', 1, 'UDPLite') }),
    fc
      .tuple(
        fc.constantFrom(...PORTS),
        ports,
        fine ? fc.option(fc.record({ ports: list(fc.oneof(port, named)) })) : fc.constant(null),
      )
      .map(([protocol, destination, source]) => ({ protocol, destination, ...(source ? { source } : {}) })),
    ...(fine
      ? [
          fc.record(
            {
              protocol: fc.constantFrom('ICMP', 'ICMPv6'),
              icmp: fc.constantFrom({ type: 8 }, { type: 8, code: 0 }, {}),
              notICMP: fc.constantFrom({ type: 8, code: 1 }, { type: 13 }, {}),
            },
            { requiredKeys: ['protocol'] },
          ),
        ]
      : []),
  );

const serviceName = fc.constantFrom(
  { name: 'pods', namespace: 'a' },
  { name: 'kept', namespace: 'b' },
  { name: 'none', namespace: 'a' },
);

const portsOf = ({ ports: list }: CalicoEntityRule): CalicoEntityRule => (list ? { ports: list } : {});

const services = fc.subarray<WorldService>([
  {
    namespace: 'a',
    name: 'pods',
    labels: {},
    selector: { app: 'web' },
    ports: [
      { protocol: 'TCP', port: 80 },
      { protocol: 'UDP', port: 'dns' },
    ],
  },
  {
    namespace: 'b',
    name: 'kept',
    labels: {},
    addresses: ['8.8.8.8', '10.244.1.14', '10.240.0.12', '2001:db8::1'],
    ports: [{ protocol: 'SCTP' }, { protocol: 'TCP', port: 443 }],
  },
]);

type Paths = { exact?: string; prefix?: string }[];

const http = fc.record(
  {
    methods: fc.constantFrom<string[][]>(['GET'], ['GET', 'POST']),
    paths: fc.constantFrom<Paths[]>([{ exact: '/a' }], [{ prefix: '/a' }, { exact: '/b' }]),
  },
  { requiredKeys: [] },
);

const rule = (ingress: boolean, features: Features): fc.Arbitrary<CalicoRule> =>
  fc
    .record({
      action: fc.constantFrom('Allow', 'Allow', 'Deny', 'Pass', 'Log'),
      ipVersion: fc.constantFrom(undefined, undefined, undefined, 4, 6),
      what: what(features),
      peers: sparsely(selecting),
      nets: fc.oneof(fc.constant({}), fc.constant({}), nets),
      named: fc.option(serviceName, { nil: undefined, freq: 5 }),
      own: fc.oneof(fc.constant({}), fc.constant({}), own),
      http: features.requests ? fc.option(http, { nil: undefined }) : fc.constant(undefined),
    })
    .map((drawn): CalicoRule => {
      const [here, there] = ingress
        ? (['destination', 'source'] as const)
        : (['source', 'destination'] as const);
      const isHttp = drawn.http && ingress && drawn.action === 'Allow';
      const { source = {}, destination = {}, ...rest } = isHttp ? { protocol: 'TCP' } : drawn.what;
      const both: { source: CalicoEntityRule; destination: CalicoEntityRule } = { source, destination };
      both[here] = { ...both[here], ...drawn.own };
      both[there] = drawn.named
        ? { services: drawn.named, ...(ingress ? portsOf(both.source) : {}) }
        : { ...both[there], ...drawn.peers, ...drawn.nets };
      return {
        action: drawn.action,
        ...(drawn.ipVersion === undefined ? {} : { ipVersion: drawn.ipVersion }),
        ...rest,
        ...both,
        ...(isHttp ? { http: drawn.http } : {}),
      };
    });

const TIER_NAMES = ['early', 'guard', 'late'];

const calicoPolicy =
  (features: Features) =>
  (i: number): fc.Arbitrary<CalicoPolicy> =>
    fc
      .record({
        namespace: fc.constantFrom('', 'a', 'b'),
        tier: fc.constantFrom(undefined, 'default', ...TIER_NAMES, 'unknown'),
        order: fc.constantFrom(undefined, undefined, 1, 999.5, 1000, 1001, -1),
        selector: fc.oneof(fc.constant(undefined), oneOf(SELECTORS), oneOf(JOINT_SELECTORS)),
        serviceAccountSelector: fc.oneof(
          fc.constant(undefined),
          fc.constant(undefined),
          oneOf(ACCOUNT_SELECTORS),
        ),
        namespaceSelector: fc.oneof(fc.constant(undefined), oneOf(NAMESPACE_SELECTORS), fc.constant('all()')),
        types: fc.constantFrom(undefined, undefined, ['Ingress'], ['Egress'], ['Ingress', 'Egress']),
        ingress: fc.option(fc.array(rule(true, features), { maxLength: 3 }), { nil: undefined }),
        egress: fc.option(fc.array(rule(false, features), { maxLength: 3 }), { nil: undefined }),
      })
      .map(({ namespace, namespaceSelector, ...drawn }): CalicoPolicy => {
        const given = Object.entries(namespace === '' ? { ...drawn, namespaceSelector } : drawn);
        return {
          apiVersion: 'projectcalico.org/v3',
          kind: namespace === '' ? 'GlobalNetworkPolicy' : 'NetworkPolicy',
          metadata: { name: `c-${i}`, ...(namespace === '' ? {} : { namespace }) },
          spec: Object.fromEntries(given.filter(([, value]) => value !== undefined)),
        };
      });

/** Simple ones, so that the second reading can read them in a few lines. */
const networkPolicy = (i: number): fc.Arbitrary<PolicyObject> =>
  fc
    .tuple(
      fc.constantFrom('a', 'b'),
      fc.constantFrom({}, { matchLabels: { app: 'web' } }),
      fc.constantFrom([], [{}], [{ ports: [{ port: 80 }] }]),
      fc.constantFrom(['Ingress'], ['Egress'], ['Ingress', 'Egress']),
    )
    .map(([namespace, podSelector, rules, policyTypes]) =>
      policyObject(namespace, `n-${i}`, { podSelector, policyTypes, ingress: rules, egress: rules }),
    );

const tiers: fc.Arbitrary<WorldTier[]> = fc
  .tuple(
    ...TIER_NAMES.map((name) =>
      fc.record({
        name: fc.constant(name),
        order: fc.constantFrom(undefined, 100, 100, 500, 1_000_000, 2_000_000, -7.5),
        defaultAction: fc.constantFrom(undefined, 'Deny' as const, 'Pass' as const),
      }),
    ),
  )
  .map((drawn) => drawn);

const sets = (namespaces: World['namespaces']): fc.Arbitrary<WorldAddressSet[]> =>
  fc.array(
    fc
      .record({
        namespace: fc.constantFrom('', 'a', 'b'),
        name: fc.constantFrom('s', 't'),
        labels: fc.constantFrom<Labels[]>({}, { app: 'web' }, { app: 'db', tier: 'y' }, { old: '' }),
        cidrs: list(fc.constantFrom('8.8.8.8', '10.244.1.8/29', '2001:db8::/32', '0.0.0.0/0')),
      })
      .map((drawn) => ({
        kind: drawn.namespace === '' ? 'GlobalNetworkSet' : 'NetworkSet',
        ...drawn,
        namespaceLabels: namespaces.find(({ name }) => name === drawn.namespace)?.labels,
      })),
    { maxLength: 2 },
  );

const accounts = [
  { namespace: 'a', name: 'robot', labels: { trust: 'high' } },
  { namespace: 'b', name: 'default', labels: { trust: 'low' } },
];

export const calicoWorlds = (features: Features): fc.Arbitrary<World> =>
  worldsOf(
    fc
      .tuple(some([1, 2, 4, 6], calicoPolicy(features)), some([0, 0, 1, 2], networkPolicy))
      .map((lists) => lists.flat()),
  ).chain((world) =>
    fc.tuple(tiers, sets(world.namespaces), services).map(([drawn, addressSets, named]) => ({
      ...world,
      serviceAccounts: accounts,
      surroundings: { tiers: drawn, addressSets, services: named },
    })),
  );

const request: fc.Arbitrary<Request> = fc.record({
  type: fc.constant('http' as const),
  method: fc.constantFrom('GET', 'POST', 'PUT'),
  path: fc.constantFrom('/a', '/a?b', '/abc', '/b', '/b/c'),
});

export const calicoFlows = (world: World): fc.Arbitrary<Flow> =>
  fc
    .tuple(
      flowsIn(world),
      fc.constantFrom(79, 80, 443, 40_000),
      fc.constantFrom({ type: 8, code: 0 }, { type: 8, code: 1 }, { type: 13, code: 0 }),
      fc.constantFrom(47, 136, 2),
      fc.option(request, { nil: undefined, freq: 2 }),
    )
    .map(([flow, sourcePort, icmp, protocolNumber, asked]) => ({
      ...flow,
      ...(flow.protocol === 'ICMP' ? { icmp } : {}),
      ...(flow.protocol === 'OTHER' ? { protocolNumber } : {}),
      ...(flow.port === undefined ? {} : { sourcePort }),
      ...(flow.protocol === 'TCP' && asked ? { request: asked } : {}),
    }));
