/** Made-up worlds: most policies for one workload each, others for a tier or the whole cluster; and flows in them. */
import type { CiliumNetworkPolicy } from '../src/api/cilium-policy-types.ts';
import type { NetworkPolicy } from '../src/api/types.ts';
import type { PolicyObject } from '../src/policy/objects.ts';
import type { HttpRequest } from '../src/policy/request.ts';
import type { Flow, FlowEnd, World, WorldPod } from '../src/policy/world.ts';

/** 1,000 policies, over 600 roles. More workloads are more policies: six for five. */
const APPS = 600;
const REPLICAS = 3;
const NAMESPACES = 40;
const TIERS = ['web', 'api', 'db', 'batch'] as const;

const namespaceOf = (app: number): string => `team-${app % NAMESPACES}`;
const tierOf = (app: number): string => TIERS[Math.floor(app / NAMESPACES) % TIERS.length]!;

export function podOf(i: number, apps: number): WorldPod {
  const app = i % apps;
  const replica = Math.floor(i / apps);
  return {
    namespace: namespaceOf(app),
    name: `app-${app}-${replica}`,
    node: `node-${(app * 7 + replica) % 50}`,
    labels: { app: `app-${app}`, tier: tierOf(app), release: app % 5 === 0 ? 'canary' : 'stable' },
    addresses: [
      `10.${128 + replica}.${app >> 8}.${app & 255}`,
      `fd00:10:${128 + replica}::${app.toString(16)}`,
    ],
    ports: [
      { name: 'http', port: 8080, protocol: 'TCP' },
      { name: 'admin', port: 9000 + (app % 50), protocol: 'TCP' },
    ],
  };
}

const labelled = (labels: Record<string, string>) => ({ matchLabels: labels });
const team = (app: number) => labelled({ 'kubernetes.io/metadata.name': namespaceOf(app) });

/** Of one workload: its callers, and a range with an exception. */
export const ofWorkload = (app: number, apps: number, port = 9000 + (app % 50)): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: namespaceOf(app), name: `app-${app}` },
  spec: {
    podSelector: labelled({ app: `app-${app}` }),
    policyTypes: app % 3 === 0 ? ['Ingress', 'Egress'] : ['Ingress'],
    ingress: [
      {
        from: [
          { podSelector: {} },
          { namespaceSelector: team(app + 7), podSelector: labelled({ tier: tierOf(app * 7) }) },
          { namespaceSelector: team(app + 13), podSelector: labelled({ app: `app-${(app + 13) % apps}` }) },
        ],
        ports: [{ port: 'http' }, { port }],
      },
      {
        from: [
          {
            ipBlock: {
              cidr: `172.${16 + (app % 16)}.0.0/16`,
              except: [`172.${16 + (app % 16)}.${app & 255}.0/24`],
            },
          },
          { ipBlock: { cidr: `2001:db8:${(app % 64).toString(16)}::/48` } },
        ],
        ports: [{ port: 8000 + (app % 97), endPort: 8200 + (app % 89) }],
      },
      { from: [{ namespaceSelector: labelled({ team: 'platform' }) }] },
    ],
    egress: [
      { to: [{ namespaceSelector: {} }], ports: [{ port: 'http' }, { protocol: 'UDP', port: 53 }] },
      { to: [{ ipBlock: { cidr: `198.51.${app & 255}.0/24` } }] },
    ],
  },
});

/** Of every fifth workload rules for requests are asked. */
const hasRequests = (app: number): boolean => app % 5 === 0;

/** Of one workload: which requests its callers may send. */
const requestsOf = (app: number): CiliumNetworkPolicy => ({
  apiVersion: 'cilium.io/v2',
  kind: 'CiliumNetworkPolicy',
  metadata: { namespace: namespaceOf(app), name: `requests-${app}` },
  spec: {
    endpointSelector: labelled({ app: `app-${app}` }),
    ingress: [
      {
        fromEndpoints: [
          {},
          { matchExpressions: [{ key: 'k8s:io.kubernetes.pod.namespace', operator: 'Exists' }] },
        ],
        toPorts: [
          {
            ports: [{ port: '8080', protocol: 'TCP' }],
            rules: {
              http: [
                { method: 'GET', path: '/items/[0-9]+(/reviews)?' },
                { method: 'POST', path: '/cart', headers: ['X-Team: shop'] },
                { method: 'GET|HEAD', path: '/static/.*', host: 'shop[.]example' },
              ],
            },
          },
        ],
      },
      {
        fromCIDRSet: [{ cidr: `172.${16 + (app % 16)}.0.0/16` }],
        toPorts: [{ ports: [{ port: '8080', protocol: 'TCP' }], rules: { http: [{ path: '/health' }] } }],
      },
    ],
  },
});

/** Of a tier in a namespace: one port more for its neighbours. */
const ofTier = (i: number): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: namespaceOf(i), name: `tier-${i}` },
  spec: {
    podSelector: labelled({ tier: tierOf(i) }),
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [
          { namespaceSelector: team(i + 1), podSelector: labelled({ release: 'canary' }) },
          { namespaceSelector: labelled({ team: 'platform' }) },
        ],
        ports: [{ port: 7000 + i }, { protocol: 'UDP', port: 5000, endPort: 5000 + i }],
      },
    ],
  },
});

/** Of the whole cluster: a port that some teams must not use, and a range that nobody may reach. */
const ofCluster = (i: number): PolicyObject => ({
  apiVersion: 'policy.networking.k8s.io/v1alpha1',
  kind: 'AdminNetworkPolicy',
  metadata: { name: `admin-${i}` },
  spec: {
    priority: i,
    subject: { namespaces: labelled({ team: i % 2 === 0 ? 'product' : 'platform' }) },
    ingress: [
      {
        action: 'Pass',
        from: [{ namespaces: team(i) }],
        ports: [{ portNumber: { protocol: 'TCP', port: 8080 } }],
      },
      {
        action: i % 3 === 0 ? 'Allow' : 'Deny',
        from: [{ namespaces: team(i + 3) }],
        ports: [{ portRange: { protocol: 'TCP', start: 7000 + 10 * i, end: 7040 + 10 * i } }],
      },
    ],
    egress: [{ action: 'Deny', to: [{ networks: [`203.0.${i}.0/24`] }] }],
  },
});

export function makeMixedWorld(apps = APPS, pods = APPS * REPLICAS): World {
  const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
  return {
    pods: numbers(pods).map((i) => podOf(i, apps)),
    namespaces: numbers(NAMESPACES).map((i) => ({
      name: `team-${i}`,
      labels: { team: i < 3 ? 'platform' : 'product' },
    })),
    nodes: numbers(50).map((i) => ({ name: `node-${i}`, addresses: [`10.240.0.${i + 1}`] })),
    policies: [
      ...numbers(apps).map((app) => ofWorkload(app, apps)),
      ...numbers(apps).filter(hasRequests).map(requestsOf),
      ...numbers(260).map(ofTier),
      ...numbers(20).map(ofCluster),
    ],
  };
}

/**
 * Random flows, no two of them alike: most between pods, the others from or to addresses outside; a fifth of them with
 * a request, to a workload with rules for requests.
 */
export function createFlows({ pods }: World): () => Flow {
  const random = createRandom(4);
  const below = (limit: number) => Math.floor(random() * limit);
  const one = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const asked = pods.filter((_, i) => hasRequests(i % APPS));
  const end = ({ namespace, name }: WorldPod): FlowEnd => ({ pod: `${namespace}/${name}` });
  const near = ['172.16', '172.20', '198.51', '203.0', '10.240'];
  const outside = (): FlowEnd => ({
    address:
      random() < 0.2
        ? `2001:db8:${below(128).toString(16)}::${below(65536).toString(16)}`
        : `${one(near)}.${below(256)}.${below(256)}`,
  });
  const request = (): HttpRequest => ({
    type: 'http',
    method: one(['GET', 'GET', 'POST', 'HEAD', 'DELETE']),
    path: `${one(['/items/', '/static/', '/cart?id=', '/health?', '/admin/'])}${below(100_000)}`,
    host: one(['shop.example', 'api.example']),
    headers: { 'x-team': one(['shop', 'pay']), 'user-agent': 'probe' },
  });
  const ports = [8080, 5000, 53];
  return () => {
    const kind = random();
    if (random() < 0.2) {
      const src = kind < 0.8 ? end(one(pods)) : outside();
      return { src, dst: end(one(asked)), protocol: 'TCP', port: 8080, request: request() };
    }
    return {
      src: kind < 0.8 ? end(one(pods)) : outside(),
      dst: kind < 0.8 && kind >= 0.6 ? outside() : end(one(pods)),
      port: random() < 0.4 ? one(ports) : 7000 + below(2500),
      protocol: random() < 0.1 ? 'UDP' : 'TCP',
    };
  };
}

/** The same draws in every run (a linear congruence modulo 2^32). */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
