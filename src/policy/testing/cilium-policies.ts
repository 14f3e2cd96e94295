/** Random worlds with policies of Cilium's, beside NetworkPolicies. */
import fc from 'fast-check';
import type { PolicyObject } from '../objects.ts';
import type { Request } from '../request.ts';
import type { Flow, World, WorldAddressSet, WorldService } from '../world.ts';
import { flowsIn, policy, some, worldsOf } from './arbitraries.ts';

/** What policies may speak of, beside ports of TCP, UDP and SCTP. */
interface Drawn {
  readonly requests?: true;
  /** And other protocols without ports. */
  readonly icmp?: true;
}

const key = fc.constantFrom(
  'app',
  'k8s:app',
  'any:tier',
  'old',
  'io.kubernetes.pod.namespace',
  'k8s:io.kubernetes.pod.namespace',
  'io.cilium.k8s.namespace.labels.app',
  'k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name',
);
/** These alone may be about what is no pod, and about accounts. */
const peerKey = fc.oneof(
  { weight: 6, arbitrary: key },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      'reserved:world',
      'reserved:world-ipv4',
      'reserved:remote-node',
      'reserved:host',
      'reserved:health',
      'reserved:kube-apiserver',
      'io.cilium.k8s.policy.serviceaccount',
      'io.cilium.k8s.policy.cluster',
    ),
  },
);
const value = fc.constantFrom('web', 'db', 'x', 'a', 'b', 'default', 'robot', '');

const expression = (keys: fc.Arbitrary<string>) =>
  fc.oneof(
    fc.record({
      key: keys,
      operator: fc.constantFrom('In', 'NotIn'),
      values: fc.uniqueArray(value, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({ key: keys, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
  );

const selectorOf = (keys: fc.Arbitrary<string>) =>
  fc.oneof(
    fc.constant({}),
    fc.tuple(keys, value).map(([name, is]) => ({ matchLabels: { [name]: is } })),
    fc.record({ matchExpressions: fc.array(expression(keys), { minLength: 1, maxLength: 2 }) }),
  );

const node = fc.constantFrom({}, { matchLabels: { zone: 'x' } }, { matchLabels: { 'k8s:zone': 'y' } });
const apiServer = (addresses: string[]): WorldService => ({
  namespace: 'default',
  name: 'kubernetes',
  labels: {},
  addresses,
  ports: [],
});
const group = (name: string, labels: Readonly<Record<string, string>>, cidrs: string[]): WorldAddressSet => ({
  kind: 'CiliumCIDRGroup',
  namespace: '',
  name,
  labels,
  cidrs,
});
const range = fc.constantFrom(
  '0.0.0.0/0',
  '::/0',
  '8.0.0.0/8',
  '8.8.8.8',
  '10.0.0.0/8',
  '10.244.0.0/16',
  '2001:db8::/32',
  'fd00:10:244::/48',
);
const rangeRule = fc.constantFrom(
  { cidr: '0.0.0.0/0', except: ['10.244.0.0/16'] },
  { cidr: '8.8.0.0/16', except: ['8.8.8.0/24', '8.8.9.0/24'] },
  { cidr: '10.244.9.9/32', except: ['10.244.9.9/32'] },
  { cidr: '10.244.0.0/16', except: ['10.244.9.0/24'] },
  { cidr: '::/0', except: ['2001:db8::/64'] },
  { cidrGroupRef: 'partners' },
  { cidrGroupRef: 'wide', except: ['8.8.8.0/24', '2001:db8::/64'] },
  { cidrGroupRef: 'none' },
  { cidrGroupSelector: {} },
  { cidrGroupSelector: { matchLabels: { role: 'a' } }, except: ['10.0.0.0/8'] },
  { cidrGroupSelector: { matchExpressions: [{ key: 'role', operator: 'NotIn', values: ['a'] }] } },
);
/** On a node, outside, and where a pod may be. */
const apiServers = fc.constantFrom<WorldService[]>(
  [],
  [apiServer(['8.8.8.8', '10.240.0.12', '10.244.1.14', '2001:db8::1'])],
  [{ ...apiServer(['8.8.8.8', '2001:db8::1']), namespace: 'a' }, apiServer(['fd00:10:240::b'])],
);
/** Some of them are not there; another kind's sets are none of them. */
const groups = fc.subarray([
  group('partners', { role: 'a' }, ['8.8.8.0/24', '2001:db8::1/128']),
  group('wide', { role: 'b' }, ['0.0.0.0/0', '::/0']),
  group('alone', {}, ['10.244.9.9/32']),
  group('empty', { role: 'a' }, []),
  { ...group('partners', { role: 'a' }, ['0.0.0.0/0']), kind: 'GlobalNetworkSet' },
]);
const entity = fc.constantFrom(
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'host',
  'remote-node',
  'health',
  'none',
  'kube-apiserver',
);
const domain = fc.constantFrom(
  { matchName: 'Site.example.' },
  { matchPattern: '*.example' },
  { matchPattern: '**.example' },
  { matchPattern: '*' },
  { matchName: 'other.example' },
);

const list = <T>(one: fc.Arbitrary<T>) => fc.array(one, { maxLength: 2 });
const often = <T>(weight: number, arbitrary: fc.Arbitrary<T>) => ({ weight, arbitrary });

/** One kind of peers, or none. */
const peers = (side: 'from' | 'to', isAllow: boolean) =>
  fc.oneof(
    often<object>(2, fc.constant({})),
    often<object>(
      4,
      list(selectorOf(peerKey)).map((all) => ({ [`${side}Endpoints`]: all })),
    ),
    often<object>(
      3,
      list(entity).map((all) => ({ [`${side}Entities`]: all })),
    ),
    often<object>(
      2,
      list(range).map((all) => ({ [`${side}CIDR`]: all })),
    ),
    often<object>(
      3,
      list(rangeRule).map((all) => ({ [`${side}CIDRSet`]: all })),
    ),
    often<object>(
      1,
      list(node).map((all) => ({ [`${side}Nodes`]: all })),
    ),
    ...(side === 'to' && isAllow
      ? [
          often<object>(
            2,
            list(domain).map((toFQDNs) => ({ toFQDNs })),
          ),
        ]
      : []),
  );

const number = fc.constantFrom('53', '80', '81', '443', '8080');
const protocol = fc.constantFrom('TCP', 'UDP', 'SCTP', 'ANY', 'TCP');
const port = fc.oneof(
  fc.record({ port: fc.oneof(number, fc.constantFrom('http', 'DNS', 'alt', '0')), protocol }),
  fc.record({ port: number }),
  fc.record({ port: fc.constant('53'), endPort: fc.constantFrom(0, 80, 443), protocol }),
);
const portless = fc.record({ protocol: fc.constantFrom('VRRP', 'IGMP', 'UDP') });
const http = fc.record(
  {
    method: fc.constantFrom('GET', 'GET|PUT', ''),
    path: fc.constantFrom('/a', '/a.*', '/.*[?]q=1'),
    host: fc.constantFrom('site[.]example', '.*'),
    headers: fc.constantFrom(['X-User: robot'], ['X-User']),
    headerMatches: fc.constantFrom([{ name: 'X-User', value: 'web' }], [{ name: 'x-user' }]),
  },
  { requiredKeys: [] },
);
const plainPorts = ({ icmp: other }: Drawn) =>
  fc.record({
    ports: fc.array(other ? fc.oneof(often(3, port), often(1, portless)) : port, { maxLength: 3 }),
  });
const requestPorts = fc.oneof(
  fc.record({
    ports: fc.array(fc.record({ port: number, protocol: fc.constant('TCP') }), {
      minLength: 1,
      maxLength: 2,
    }),
    rules: fc.record({ http: fc.array(http, { maxLength: 2 }) }),
  }),
);
const dnsPorts = fc.record({
  ports: fc.constant([{ port: '53' }]),
  rules: fc.record({ dns: fc.array(domain, { minLength: 1, maxLength: 2 }) }),
});
const icmp = fc.constantFrom(
  { type: 8 },
  { type: 'EchoReply' },
  { family: 'IPv6', type: 'EchoRequest' },
  { family: 'IPv4', type: 13 },
);

/** Some of what may be said of requests, where `requests` are drawn. */
const ports = (side: 'from' | 'to', isAllow: boolean, drawn: Drawn) => {
  const entries: fc.Arbitrary<object>[] = [plainPorts(drawn)];
  if (isAllow && drawn.requests) entries.push(requestPorts, ...(side === 'to' ? [dnsPorts] : []));
  return fc.oneof(
    often<object>(3, fc.constant({})),
    often<object>(
      4,
      fc.array(fc.oneof(...entries), { maxLength: 2 }).map((toPorts) => ({ toPorts })),
    ),
    often<object>(
      drawn.icmp ? 1 : 0,
      fc.array(icmp, { minLength: 1, maxLength: 2 }).map((fields) => ({ icmps: [{ fields }] })),
    ),
  );
};

const authentication = fc.constantFrom('disabled', 'required', 'test-always-fail').map((mode) => ({
  authentication: { mode },
}));

/** Proofs are drawn where requests are. */
const rule = (side: 'from' | 'to', isAllow: boolean, drawn: Drawn) =>
  fc
    .tuple(said(side, isAllow, drawn), fc.option(authentication, { nil: {}, freq: 1 }))
    .map(([parts, proof]) => ({ ...parts, ...(isAllow && drawn.requests ? proof : {}) }));

const said = (side: 'from' | 'to', isAllow: boolean, drawn: Drawn) =>
  fc
    .tuple(peers(side, isAllow), ports(side, isAllow, drawn))
    .map(([who, what]): object => ({ ...who, ...what }));

const body = (drawn: Drawn) =>
  fc.record(
    {
      endpointSelector: selectorOf(key),
      ingress: fc.array(rule('from', true, drawn), { maxLength: 2 }),
      ingressDeny: fc.array(rule('from', false, drawn), { maxLength: 1 }),
      egress: fc.array(rule('to', true, drawn), { maxLength: 2 }),
      egressDeny: fc.array(rule('to', false, drawn), { maxLength: 1 }),
      enableDefaultDeny: fc.record({ ingress: fc.boolean(), egress: fc.boolean() }, { requiredKeys: [] }),
    },
    { requiredKeys: ['endpointSelector'] },
  );

const ciliumPolicy = (drawn: Drawn) => (i: number) =>
  fc
    .record({
      kind: fc.constantFrom('CiliumNetworkPolicy', 'CiliumNetworkPolicy', 'CiliumClusterwideNetworkPolicy'),
      namespace: fc.constantFrom('a', 'b'),
      spec: fc.option(body(drawn), { nil: undefined, freq: 6 }),
      specs: fc.option(fc.array(body(drawn), { minLength: 1, maxLength: 2 }), { nil: undefined, freq: 1 }),
    })
    .map(
      ({ kind, namespace, ...rest }) =>
        ({
          apiVersion: 'cilium.io/v2',
          kind,
          metadata: { name: `policy-${i}`, ...(kind === 'CiliumNetworkPolicy' ? { namespace } : {}) },
          ...rest,
        }) as unknown as PolicyObject,
    );

const NAMES = [
  { name: 'site.example', addresses: ['8.8.8.8', '2001:db8::1'] },
  { name: 'deep.site.example', addresses: ['10.244.9.9', '10.244.1.14'] },
];

/** Pods have service accounts, and some addresses names. */
const ciliumWorlds = (drawn: Drawn): fc.Arbitrary<World> =>
  fc
    .tuple(
      worldsOf(
        fc
          .tuple(some([1, 2, 3, 5], ciliumPolicy(drawn)), some([0, 0, 1, 2], policy))
          .map((lists): PolicyObject[] => lists.flat()),
      ),
      fc.array(fc.constantFrom(undefined, 'robot'), { minLength: 8, maxLength: 8 }),
      groups,
      apiServers,
    )
    .map(([world, accounts, addressSets, services]) => ({
      ...world,
      surroundings: { addressSets, services },
      names: NAMES,
      pods: world.pods.map((pod, i) => ({ ...pod, serviceAccount: accounts[i] })),
    }));

export const connectionWorlds = ciliumWorlds({ icmp: true });
export const requestWorlds = ciliumWorlds({ icmp: true, requests: true });
/** What data paths tell apart by themselves. */
export const packetWorlds = ciliumWorlds({});
/** Of TCP, UDP and SCTP alone. */
export const portWorlds = ciliumWorlds({ requests: true });

const request: fc.Arbitrary<Request> = fc.oneof(
  fc.record({
    type: fc.constant('http' as const),
    method: fc.constantFrom('GET', 'PUT', 'POST'),
    path: fc.constantFrom('/a', '/ab', '/x?q=1', '/'),
    host: fc.constantFrom('site.example', 'other'),
    headers: fc.constantFrom<Record<string, string>>({}, { 'x-user': 'web' }, { 'x-user': 'robot' }),
  }),
  fc.record({
    type: fc.constant('dns' as const),
    name: fc.constantFrom('site.example', 'other.example.', 'x'),
  }),
);

/** With types of ICMP messages, and numbers of protocols without ports. */
export const connectionsIn = (world: World): fc.Arbitrary<Flow> =>
  fc
    .tuple(flowsIn(world), fc.constantFrom(0, 8, 13, 128), fc.constantFrom(2, 112, 47))
    .map(([flow, type, protocolNumber]) => ({
      ...flow,
      ...(flow.protocol === 'ICMP' ? { icmp: { type, code: 0 } } : {}),
      ...(flow.protocol === 'OTHER' ? { protocolNumber } : {}),
    }));

export const requestsIn = (world: World): fc.Arbitrary<Flow> =>
  fc
    .tuple(connectionsIn(world), fc.option(request, { nil: undefined, freq: 3 }))
    .map(([flow, asked]) => (asked && carries(flow, asked) ? { ...flow, request: asked } : flow));

const carries = ({ protocol: of }: Flow, { type }: Request): boolean =>
  of === 'TCP' || (of === 'UDP' && type === 'dns');
