import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { KubeObject } from '../../api/types.ts';
import { connectionOutput, connectivity } from '../../policy/analyse/connectivity.ts';
import { estateFromObjects } from '../../policy/analyse/from-objects.ts';
import { lint } from '../../policy/analyse/lint.ts';
import { createDecider } from '../../policy/decide.ts';
import { createIndexedDecider } from '../../policy/indexed/decider.ts';
import type { Flow } from '../../policy/world.ts';
import { createEstate } from '../../policy/analyse/estate.ts';
import { policyObject } from '../../policy/testing/arbitraries.ts';
import { objectProblems } from './check-objects.ts';

const kinds = [
  ['v1', 'Pod'],
  ['v1', 'Namespace'],
  ['v1', 'Node'],
  ['apps/v1', 'Deployment'],
  ['batch/v1', 'CronJob'],
  ['networking.k8s.io/v1', 'NetworkPolicy'],
  ['policy.networking.k8s.io/v1alpha1', 'AdminNetworkPolicy'],
  ['policy.networking.k8s.io/v1alpha2', 'ClusterNetworkPolicy'],
  ['cilium.io/v2', 'CiliumNetworkPolicy'],
  ['cilium.io/v2', 'CiliumClusterwideNetworkPolicy'],
  ['security.istio.io/v1', 'AuthorizationPolicy'],
  ['security.istio.io/v1beta1', 'PeerAuthentication'],
] as const;

/** Values where values are wrong, under keys that are looked at. */
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'medium', withCrossShrink: true },
    fc.constantFrom(null, true, 0, -1, 80, 70000, '', 'x', '10.0.0.0/8', '10.0.0.0/99', 'TCP', '__proto__'),
    fc.array(tie('value'), { maxLength: 2 }),
    fc.dictionary(
      fc.constantFrom(
        'spec',
        'template',
        'metadata',
        'labels',
        'containers',
        'ports',
        'containerPort',
        'podSelector',
        'ingress',
        'egress',
        'from',
        'to',
        'ipBlock',
        'cidr',
        'except',
        'matchLabels',
        'matchExpressions',
        'policyTypes',
        'port',
        'endPort',
        'protocol',
        'subject',
        'namespaces',
        'action',
        'priority',
        'ownerReferences',
        'status',
        'podIPs',
        'hostNetwork',
        'jobTemplate',
        'constructor',
      ),
      tie('value'),
      { maxKeys: 4 },
    ),
  ),
}));

const template = {
  metadata: { labels: { app: 'a' } },
  spec: { hostNetwork: false, containers: [{ name: 'x', ports: [{ containerPort: 80, name: 'http' }] }] },
};
const adminRule = {
  action: 'Deny',
  from: [{ namespaces: {} }],
  ports: [{ portNumber: { port: 80, protocol: 'TCP' } }],
};
const specs: Readonly<Record<string, unknown>> = {
  Pod: template.spec,
  Deployment: { selector: { matchLabels: { app: 'a' } }, template },
  CronJob: { jobTemplate: { spec: { template } } },
  NetworkPolicy: {
    podSelector: { matchLabels: { app: 'a' } },
    ingress: [
      {
        from: [{ podSelector: {} }, { ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }],
        ports: [{ port: 'http' }],
      },
    ],
  },
  AdminNetworkPolicy: { priority: 1, subject: { namespaces: {} }, ingress: [adminRule] },
  ClusterNetworkPolicy: {
    tier: 'Admin',
    priority: 1,
    subject: { namespaces: {} },
    ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
  },
};

const ciliumRule = {
  endpointSelector: { matchLabels: { 'k8s:app': 'a' } },
  ingress: [{ fromEndpoints: [{ matchExpressions: [{ key: 'reserved:host', operator: 'Exists' }] }] }],
  egress: [
    {
      toCIDRSet: [{ cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] }],
      toPorts: [
        { ports: [{ port: '80', protocol: 'TCP' }], rules: { http: [{ path: '/a.*', headers: ['X'] }] } },
      ],
    },
    { toFQDNs: [{ matchPattern: '*.example' }], icmps: [{ fields: [{ type: 8 }] }] },
  ],
  enableDefaultDeny: { ingress: false },
};
const istioSpecs: typeof specs = {
  AuthorizationPolicy: {
    selector: { matchLabels: { app: 'a' } },
    rules: [
      {
        from: [{ source: { principals: ['*'], ipBlocks: ['10.0.0.0/8'] } }],
        to: [{ operation: { paths: ['/{*}'], ports: ['80'] } }],
        when: [{ key: 'request.headers[a]', values: ['b'] }],
      },
    ],
  },
  PeerAuthentication: {
    selector: { matchLabels: { app: 'a' } },
    mtls: { mode: 'STRICT' },
    portLevelMtls: { 80: { mode: 'DISABLE' } },
  },
};
const ciliumSpecs: typeof specs = {
  CiliumNetworkPolicy: ciliumRule,
  CiliumClusterwideNetworkPolicy: ciliumRule,
};

/** One value of it is another one: which, the numbers say. */
function spoil(whole: unknown, [pick = 0, ...rest]: readonly number[], by: unknown): unknown {
  if (typeof whole !== 'object' || whole === null || rest.length === 0) return by;
  const keys = Object.keys(whole);
  const key = keys[pick % Math.max(1, keys.length)];
  if (key === undefined) return by;
  const copy: unknown[] | Record<string, unknown> = Array.isArray(whole) ? [...whole] : { ...whole };
  (copy as Record<string, unknown>)[key] = spoil((copy as Record<string, unknown>)[key], rest, by);
  return copy;
}

const object = fc
  .record({
    kind: fc.constantFrom(...kinds),
    name: fc.constantFrom('a', 'b'),
    path: fc.array(fc.nat(5), { minLength: 2, maxLength: 8 }),
    isSpoilt: fc.boolean(),
    by: value,
  })
  .map(({ kind: [apiVersion, kind], name, path, isSpoilt, by }) => {
    const metadata = { name, labels: { app: 'a' }, namespace: 'default' };
    const whole = {
      apiVersion,
      kind,
      metadata,
      spec: specs[kind] ?? ciliumSpecs[kind] ?? istioSpecs[kind] ?? {},
    };
    // Its kind stays: others are not looked at.
    return (isSpoilt
      ? { ...(spoil(whole, path, by) as object), apiVersion, kind }
      : whole) as unknown as KubeObject;
  });

test('any object is either refused or answered about', () => {
  let answered = 0;
  fc.assert(
    fc.property(fc.array(object, { minLength: 1, maxLength: 4 }), (objects) => {
      const good = objects.filter((each) => objectProblems(each, { lenient: true }).length === 0);
      const { estate } = estateFromObjects(structuredClone(good));
      for (const connection of connectivity(estate)) JSON.stringify(connectionOutput(connection));
      lint(estate);
      if (good.length > 0) answered++;
    }),
    { numRuns: 1000 },
  );
  assert.ok(answered > 100, `only ${answered}`);
});

test('long lists of ranges, labels and ports are answered about', () => {
  const labels = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, `v${i}`]));
  const pods = [0, 1].map((i) => ({
    namespace: 'a',
    name: `p${i}`,
    node: '',
    labels,
    addresses: [],
    ports: [],
  }));
  const block = (i: number) => ({ ipBlock: { cidr: `10.${i >> 8}.${i & 255}.0/25` } });
  const ports = Array.from({ length: 5000 }, (_, i) => ({ port: 1 + i * 10, endPort: 5 + i * 10 }));
  const policies = [
    policyObject('a', 'p', {
      podSelector: { matchLabels: labels },
      ingress: [
        { from: [{ podSelector: { matchLabels: labels } }], ports },
        { from: Array.from({ length: 10_000 }, (_, i) => block(i)) },
      ],
    }),
  ];
  const estate = createEstate({ pods, namespaces: [], nodes: [], policies }, () => undefined);
  const told = [...connectivity(estate)];
  assert.equal(told.length, 2 + 2 * 10_000 + 2);
  assert.equal(told[0]?.set.ranges[0]?.length, 5000);
});

test('long lists and long texts of requests are answered about', () => {
  const many = (text: string) => Array.from({ length: 10_000 }, (_, i) => `${text}${i}`);
  const pod = { namespace: 'a', name: 'p', node: '', labels: {}, addresses: ['10.0.0.1'], ports: [] };
  const spec = {
    rules: [
      {
        from: [{ source: { principals: many('cluster.local/ns/a/sa/'), notIpBlocks: ['10.0.0.0/9'] } }],
        to: [{ operation: { paths: [...many('/x*'), ...many('/{*}a{*}/'), `/${'{*}a'.repeat(32)}`] } }],
        when: [{ key: 'request.headers[a]', values: many('*') }],
      },
    ],
  };
  const metadata = { namespace: 'a', name: 'long' };
  const mesh = [
    { apiVersion: 'security.istio.io/v1' as const, kind: 'AuthorizationPolicy' as const, metadata, spec },
  ];
  const world = { pods: [pod], namespaces: [], nodes: [], policies: [], mesh };
  const flow: Flow = {
    src: { address: '10.200.0.1' },
    dst: { pod: 'a/p' },
    protocol: 'TCP',
    port: 80,
    peer: { tls: 'mutual', principal: 'cluster.local/ns/a/sa/77' },
    request: { type: 'http', method: 'GET', path: `/${'a'.repeat(10_000)}`, headers: { a: 'x9999' } },
  };
  for (const decide of [createDecider(world), createIndexedDecider()(world)])
    assert.equal(decide(flow).mesh?.reason, 'rule');
  lint(createEstate(world, () => undefined));
});
