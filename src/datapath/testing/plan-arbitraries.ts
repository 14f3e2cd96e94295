/** Random objects for plans: few names, so that they meet and replace each other. */
import fc from 'fast-check';
import type { EndpointSlice, Node, Service } from '../../api/types.ts';
import { compile } from '../../policy/compile.ts';
import { stagedWorlds, worlds } from '../../policy/testing/arbitraries.ts';
import type { Plan } from '../plan/plan.ts';
import type { LocalPod } from '../plan/tables.ts';

const names = fc.constantFrom('a', 'b', 'c');
const protocols = fc.constantFrom<'TCP' | 'UDP' | 'SCTP'>('TCP', 'UDP', 'SCTP');

const types = fc.constantFrom<'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName'>(
  'ClusterIP',
  'ClusterIP',
  'NodePort',
  'LoadBalancer',
  'ExternalName',
);
const trafficPolicy = fc.constantFrom<'Cluster' | 'Local' | undefined>('Cluster', 'Local', undefined);

const ports = fc.uniqueArray(
  fc.record(
    {
      name: names,
      port: fc.constantFrom(80, 443),
      protocol: protocols,
      nodePort: fc.constantFrom(30080, 30443),
    },
    { requiredKeys: ['name', 'port', 'protocol'] },
  ),
  { minLength: 1, maxLength: 3, selector: ({ name }) => name },
);

const annotations = fc.dictionary(
  fc.constantFrom('heddle.dev/balance', 'heddle.dev/forwarding'),
  fc.constantFrom('maglev', 'round-robin', 'least-connection', 'dsr', 'nonsense'),
);

/** Few addresses, so that services meet at them whatever their kind. */
const outside = fc.subarray(['192.0.2.1', '10.240.0.1', '10.96.0.1', 'fd00:10:240::1', '2001:db8::1']);
const sourceRanges = fc.subarray(['203.0.113.0/24', '2001:db8::/64']);

const service: fc.Arbitrary<Service> = fc
  .record({
    name: names,
    annotations,
    ingress: fc.tuple(outside, fc.constantFrom('VIP', 'Proxy', undefined)),
    spec: fc.record({
      clusterIPs: fc.constantFrom<string[]>(
        ['10.96.0.1'],
        ['10.96.0.1', 'fd00:10:96::1'],
        ['10.96.0.2', 'fd00:10:96:0::2'],
        ['None'],
      ),
      type: types,
      externalIPs: outside,
      sessionAffinity: fc.constantFrom<'ClientIP' | 'None'>('ClientIP', 'None'),
      internalTrafficPolicy: trafficPolicy,
      externalTrafficPolicy: trafficPolicy,
      loadBalancerSourceRanges: sourceRanges,
      ports,
    }),
  })
  .map(({ name, annotations, ingress: [ips, ipMode], spec }) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'x', name, annotations },
    spec,
    status: { loadBalancer: { ingress: ips.map((ip) => ({ ip, ...(ipMode ? { ipMode } : {}) })) } },
  }));

const conditions = fc.constantFrom(
  undefined,
  {},
  { ready: true, serving: true, terminating: false },
  { ready: false, serving: false },
  { ready: false, serving: true, terminating: true },
  { ready: false, serving: false, terminating: true },
);

const hints = fc.constantFrom<NonNullable<EndpointSlice['endpoints']>[number]['hints']>(
  undefined,
  { forZones: [{ name: 'a' }] },
  { forZones: [{ name: 'b' }] },
  { forZones: [{ name: 'a' }], forNodes: [{ name: 'node-1' }] },
);

const slice: fc.Arbitrary<EndpointSlice> = fc
  .record({
    addressType: fc.constantFrom<'IPv4' | 'IPv6'>('IPv4', 'IPv6'),
    ports: fc.array(fc.record({ name: names, port: fc.constantFrom(8080, 8443), protocol: protocols }), {
      maxLength: 3,
    }),
    hosts: fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), conditions, hints), { maxLength: 4 }),
    weights: fc.option(fc.constantFrom('10.244.1.1=0,10.244.1.2=3', 'fd00:10:244:1::1=2', 'nonsense')),
  })
  .map(({ addressType, ports, hosts, weights }) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace: 'x',
      name: 'slice',
      ...(weights === null ? {} : { annotations: { 'heddle.dev/weights': weights } }),
    },
    addressType,
    ports,
    endpoints: hosts.map(([host, conditions, hints]) => ({
      nodeName: `node-${1 + (host % 3)}`,
      ...(hints ? { hints } : {}),
      addresses: [addressType === 'IPv4' ? `10.244.1.${host}` : `fd00:10:244:1::${host}`],
      ...(conditions ? { conditions } : {}),
    })),
  }));

const node: fc.Arbitrary<Node> = fc
  .tuple(
    fc.constantFrom('node-1', 'node-2', 'node-3'),
    fc.integer({ min: 1, max: 3 }),
    fc.dictionary(
      fc.constantFrom('topology.kubernetes.io/zone', 'topology.kubernetes.io/region'),
      fc.constantFrom('a', 'b'),
    ),
  )
  .map(([name, n, labels]) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels },
    spec: { podCIDRs: [`10.244.${n}.0/24`, `fd00:10:244:${n}::/64`] },
    status: { addresses: [{ type: 'InternalIP', address: `10.240.0.${n}` }] },
  }));

const pod: fc.Arbitrary<LocalPod> = fc.integer({ min: 1, max: 4 }).map((n) => ({
  namespace: 'x',
  name: `p${n}`,
  interface: `veth${n}`,
  addresses: [`10.244.1.${n}`, `fd00:10:244:1::${n}`],
}));

/** A call on a plan, with the part of the plan that it replaces. */
export interface Step {
  readonly object: string;
  run(plan: Plan): void;
}

const serviceStep = service.map(
  (object): Step => ({
    object: `service ${object.metadata.name}`,
    run: (plan) => plan.setService(object),
  }),
);

export const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: serviceStep },
  {
    weight: 3,
    arbitrary: fc.tuple(names, fc.array(slice, { maxLength: 2 })).map(
      ([name, list]): Step => ({
        object: `slices ${name}`,
        run: (plan) => plan.setSlices(`x/${name}`, list),
      }),
    ),
  },
  names.map((name): Step => ({ object: `service ${name}`, run: (plan) => plan.removeService(`x/${name}`) })),
  node.map(
    (object): Step => ({
      object: `node ${object.metadata.name}`,
      run: (plan) => plan.setNode(object),
    }),
  ),
  fc
    .constantFrom('node-1', 'node-2', 'node-3')
    .map((name): Step => ({ object: `node ${name}`, run: (plan) => plan.removeNode(name) })),
  fc
    .uniqueArray(pod, { maxLength: 4, selector: ({ name }) => name })
    .map((pods): Step => ({ object: 'pods', run: (plan) => plan.setLocalPods(pods) })),
  fc.oneof(worlds, stagedWorlds).map(
    (world): Step => ({
      object: 'policy',
      run: (plan) => plan.setPolicy(compile(world, { onlyNode: 'node-1' })),
    }),
  ),
  fc.constantFrom(['10.240.0.1'], ['10.240.0.1', 'fd00:10:240::1']).map(
    (nodeAddresses): Step => ({
      object: 'settings',
      run: (plan) =>
        plan.setSettings({
          node: 'node-1',
          nodeAddresses,
          nodePodCidrs: ['10.244.1.0/24'],
          podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'],
          serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
          underlayCidrs: ['10.240.0.0/24'],
          podLinks: 'veth',
          tunnelPort: 4789,
        }),
    }),
  ),
);
