import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EndpointSlice, Node, Service } from '../../api/types.ts';
import { steps } from '../testing/plan-arbitraries.ts';
import { createPlan, type Plan } from './plan.ts';
import type { ServiceFrontend, Settings } from './tables.ts';

const settings: Settings = {
  node: 'node-1',
  nodeAddresses: ['10.240.0.11', 'fd00:10:240::11'],
  nodePodCidrs: ['10.244.1.0/24'],
  podCidrs: ['10.244.0.0/16'],
  serviceCidrs: ['10.96.0.0/16'],
  underlayCidrs: ['10.240.0.0/24'],
  podLinks: 'veth',
  tunnelPort: 4789,
};

type Spec = NonNullable<Service['spec']>;
const web: Spec = {
  type: 'NodePort',
  clusterIP: '10.96.0.1',
  ports: [{ name: 'web', port: 80, nodePort: 30080 }],
};

const service = (spec: Partial<Spec> = {}, more: Partial<Service> = {}): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'x', name: 's', ...more.metadata },
  spec: { ...web, ...spec },
  ...(more.status ? { status: more.status } : {}),
});

type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];
const at = (host: number, node: string, more: Partial<Endpoint> = {}): Endpoint => ({
  addresses: [`10.244.${node.slice(-1)}.${host}`],
  nodeName: node,
  ...more,
});

const slice = (endpoints: Endpoint[], annotations?: Record<string, string>): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { namespace: 'x', name: 's-1', ...(annotations ? { annotations } : {}) },
  addressType: 'IPv4',
  ports: [{ name: 'web', port: 8080, protocol: 'TCP' }],
  endpoints,
});

const node = (name: string, labels: Record<string, string> = {}): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, labels },
});

function planOf(object: Service, slices: EndpointSlice[] = [], nodes: Node[] = []): Plan {
  const plan = createPlan({ node: 'node-1' });
  plan.setSettings(settings);
  for (const each of nodes) plan.setNode(each);
  plan.setService(object);
  plan.setSlices('x/s', slices);
  plan.update();
  return plan;
}

const frontend = (plan: Plan, key: string): Readonly<ServiceFrontend> => {
  const found = plan.state.services.get(key);
  assert.ok(found, `${key} is none of ${[...plan.state.services.keys()].join(' ')}`);
  return found;
};

const addresses = (backends: ServiceFrontend['backends'] | undefined) =>
  backends?.map(({ address }) => address);

const CLUSTER = '10.96.0.1|TCP|80';
const NODE_PORT = '10.240.0.11|TCP|30080';
const BALANCER = '10.240.1.5|TCP|80';
const balancer = (more: Partial<Spec> = {}, metadata = {}) =>
  service(
    { type: 'LoadBalancer', ...more },
    {
      metadata: { name: 's', namespace: 'x', ...metadata },
      status: { loadBalancer: { ingress: [{ ip: '10.240.1.5', ipMode: 'VIP' }] } },
    },
  );
const ending = { ready: false, serving: true, terminating: true };

test('a Service is served in its own families alone, whatever addresses nodes and balancers have', () => {
  const four = ['10.240.0.11', '10.240.1.5', '10.96.0.1', '192.0.2.1'];
  const six = ['2001:db8::1', 'fd00:10:240::11', 'fd00:10:96::1'];
  const cases = [
    { clusterIPs: ['10.96.0.1', 'fd00:10:96::1'], want: [...four, ...six] },
    { clusterIPs: ['10.96.0.1'], want: four },
    { clusterIPs: ['fd00:10:96::1'], want: six },
  ];
  for (const { clusterIPs, want } of cases) {
    const [clusterIP = ''] = clusterIPs;
    const ipFamilies = clusterIPs.map((text) => (text.includes(':') ? 'IPv6' : 'IPv4'));
    const externalIPs = ['192.0.2.1', '2001:db8::1'];
    const plan = planOf(balancer({ clusterIP, clusterIPs, ipFamilies, externalIPs }));
    const found = new Set([...plan.state.services.values()].map(({ address }) => address));
    assert.deepEqual([...found].sort(), want);
    assert.deepEqual(
      plan.problems({ name: 'any', capabilities: everything }).map(({ field }) => field),
      externalIPs.flatMap((text, i) => (found.has(text) ? [] : [`spec.externalIPs[${i}]`])),
    );
  }
});

test('a node port is a frontend at each own address of the node', () => {
  const plan = planOf(service({ clusterIPs: ['10.96.0.1', 'fd00:10:96::1'] }), [slice([at(2, 'node-2')])]);
  assert.deepEqual(
    [...plan.state.services.values()].map(({ kind, address, port }) => `${kind} ${address} ${port}`),
    [
      'ClusterIP 10.96.0.1 80',
      'ClusterIP fd00:10:96::1 80',
      'NodePort 10.240.0.11 30080',
      'NodePort fd00:10:240::11 30080',
    ],
  );
  plan.setSettings({ ...settings, nodePortAddresses: ['10.240.0.12'] });
  plan.update();
  assert.deepEqual(
    [...plan.state.services.keys()],
    [CLUSTER, 'fd00:10:96::1|TCP|80', '10.240.0.12|TCP|30080'],
    'only where node ports are asked for',
  );
});

test('balancer addresses are frontends unless the balancer wants clients inside too', () => {
  assert.equal(frontend(planOf(balancer()), BALANCER).kind, 'LoadBalancer');
  const proxied = balancer();
  proxied.status = { loadBalancer: { ingress: [{ ip: '10.240.1.5', ipMode: 'Proxy' }] } };
  assert.equal(planOf(proxied).state.services.get(BALANCER), undefined);
  const plain = { ...balancer(), spec: { ...web } };
  assert.equal(
    planOf(plain).state.services.get(BALANCER),
    undefined,
    'a Service that is no balancer any more',
  );
});

test('external addresses are frontends, but never addresses of services or pods', () => {
  const plan = planOf(service({ externalIPs: ['192.0.2.1', '10.96.0.10', '10.244.3.3'] }));
  assert.equal(frontend(plan, '192.0.2.1|TCP|80').kind, 'ExternalIP');
  assert.deepEqual([...plan.state.services.values()].filter(({ kind }) => kind === 'ExternalIP').length, 1);
  assert.deepEqual(
    plan.problems({ name: 'any', capabilities: everything }).map(({ field }) => field),
    ['spec.externalIPs[1]', 'spec.externalIPs[2]'],
  );
});

test("an external address never takes another service's balancer address, whatever their names", () => {
  const plan = planOf(balancer());
  const thief = service({ clusterIP: '10.96.0.2', externalIPs: ['10.240.1.5'] });
  plan.setService({ ...thief, metadata: { namespace: 'a', name: 'a' } });
  plan.update();
  assert.equal(frontend(plan, BALANCER).service, 'x/s');
});

test('algorithms: random inside, Maglev where clients outside come, and what the annotation says', () => {
  const plan = planOf(service());
  assert.equal(frontend(plan, CLUSTER).algorithm, 'random');
  assert.equal(frontend(plan, NODE_PORT).algorithm, 'maglev');
  const metadata = {
    name: 's',
    namespace: 'x',
    annotations: { 'heddle.dev/balance': 'least-connection', 'heddle.dev/forwarding': 'dsr' },
  };
  const said = planOf(service({}, { metadata }));
  assert.equal(frontend(said, CLUSTER).algorithm, 'least-connection');
  assert.equal(frontend(said, CLUSTER).forwarding, 'snat');
  assert.equal(frontend(said, NODE_PORT).algorithm, 'least-connection');
  assert.equal(frontend(said, NODE_PORT).forwarding, 'dsr');
});

test('direct return without VXLAN is said of the Service that asks for it', () => {
  const metadata = { name: 's', namespace: 'x', annotations: { 'heddle.dev/forwarding': 'dsr' } };
  const said = (sends: 'vxlan' | 'native' | 'geneve', object = service({}, { metadata })) => {
    const plan = planOf(object);
    plan.setSettings({ ...settings, routing: { sends, accepts: [sends] } });
    plan.update();
    return plan
      .problems({ name: 'ebpf', capabilities: everything })
      .map(({ object: of, field, message }) => `${of} ${field}: ${message}`);
  };
  assert.deepEqual(said('vxlan'), []);
  for (const way of ['native', 'geneve'] as const)
    assert.deepEqual(said(way), [
      `Service x/s metadata.annotations[heddle.dev/forwarding]: direct server return needs VXLAN between nodes, and they go by ${way}: snat is used`,
    ]);
  assert.deepEqual(said('native', service({})), [], 'nobody asked');
});

test('source ranges hold for the balancer address, by field or annotation, and by family', () => {
  const ranges = { loadBalancerSourceRanges: ['203.0.113.7/24', '2001:db8::/64'] };
  const plan = planOf(balancer(ranges));
  assert.deepEqual(frontend(plan, BALANCER).sourceRanges, ['203.0.113.0/24']);
  assert.equal(frontend(plan, NODE_PORT).sourceRanges, undefined);
  const key = 'service.beta.kubernetes.io/load-balancer-source-ranges';
  const annotated = planOf(balancer({}, { annotations: { [key]: '198.51.100.0/24, 192.0.2.0/24' } }));
  assert.deepEqual(frontend(annotated, BALANCER).sourceRanges, ['192.0.2.0/24', '198.51.100.0/24']);
  const other = planOf(balancer({ loadBalancerSourceRanges: ['2001:db8::/64'] }));
  assert.deepEqual(frontend(other, BALANCER).sourceRanges, [], 'nobody of the other family was let in');
});

test('session affinity lasts as long as it says, three hours else', () => {
  assert.equal(frontend(planOf(service()), CLUSTER).affinitySeconds, undefined);
  const sticky = planOf(service({ sessionAffinity: 'ClientIP' }));
  assert.equal(frontend(sticky, NODE_PORT).affinitySeconds, 10_800);
  const short = { clientIP: { timeoutSeconds: 5 } };
  const brief = planOf(service({ sessionAffinity: 'ClientIP', sessionAffinityConfig: short }));
  assert.equal(frontend(brief, CLUSTER).affinitySeconds, 5);
});

test('internal policy Local: endpoints of this node for the cluster address; others elsewhere are silence', () => {
  const local = { internalTrafficPolicy: 'Local' } as const;
  const plan = planOf(service(local), [slice([at(2, 'node-1'), at(2, 'node-2')])]);
  assert.deepEqual(addresses(frontend(plan, CLUSTER).backends), ['10.244.1.2']);
  assert.deepEqual(addresses(frontend(plan, NODE_PORT).backends), ['10.244.1.2', '10.244.2.2']);
  const away = planOf(service(local), [slice([at(2, 'node-2')])]);
  assert.deepEqual(frontend(away, CLUSTER).backends, []);
  assert.equal(frontend(away, CLUSTER).whenEmpty, 'drop');
  assert.equal(frontend(planOf(service(local)), CLUSTER).whenEmpty, 'refuse', 'nobody serves at all');
});

test('external policy Local: clients outside meet endpoints of this node, those inside all', () => {
  const plan = planOf(service({ externalTrafficPolicy: 'Local' }), [
    slice([at(2, 'node-1'), at(2, 'node-2')]),
  ]);
  const port = frontend(plan, NODE_PORT);
  assert.deepEqual(addresses(port.externalBackends), ['10.244.1.2']);
  assert.deepEqual(addresses(port.backends), ['10.244.1.2', '10.244.2.2']);
  assert.deepEqual(
    port.backends.map(({ local }) => local),
    [true, undefined],
  );
  assert.equal(port.whenEmpty, 'drop');
  assert.equal(frontend(plan, CLUSTER).externalBackends, undefined);
});

test('an endpoint that ends serves on this node while no other here does, and nowhere else', () => {
  const plan = planOf(service({ externalTrafficPolicy: 'Local' }), [
    slice([at(2, 'node-1', { conditions: ending }), at(2, 'node-2')]),
  ]);
  assert.deepEqual(addresses(frontend(plan, NODE_PORT).externalBackends), ['10.244.1.2']);
  assert.deepEqual(addresses(frontend(plan, NODE_PORT).backends), ['10.244.2.2']);
});

const zoned = (host: number, on: string, zone: string, more: Partial<Endpoint> = {}): Endpoint =>
  at(host, on, { zone, hints: { forZones: [{ name: zone }] }, ...more });
const inZone = (name: string, zone: string, region?: string) =>
  node(name, {
    'topology.kubernetes.io/zone': zone,
    ...(region ? { 'topology.kubernetes.io/region': region } : {}),
  });
const served = (endpoints: Endpoint[], nodes: Node[]) =>
  addresses(frontend(planOf(service(), [slice(endpoints)], nodes), CLUSTER).backends);

test('zone hints are obeyed when every ready endpoint has one and one is for this zone', () => {
  const both = [zoned(2, 'node-1', 'a'), zoned(2, 'node-2', 'b')];
  assert.deepEqual(served(both, [inZone('node-1', 'a')]), ['10.244.1.2']);
  assert.deepEqual(served(both, [inZone('node-1', 'b')]), ['10.244.2.2']);
  assert.deepEqual(served(both, [inZone('node-1', 'c')]), ['10.244.1.2', '10.244.2.2'], 'spill-over');
  assert.deepEqual(served(both, [node('node-1')]), ['10.244.1.2', '10.244.2.2'], 'no zone known');
  const partly = [...both, at(3, 'node-3')];
  assert.equal(served(partly, [inZone('node-1', 'a')])?.length, 3, 'one endpoint without a hint');
  const unready = [...both, at(3, 'node-3', { conditions: { ready: false } })];
  assert.deepEqual(served(unready, [inZone('node-1', 'a')]), ['10.244.1.2']);
});

test('node hints come before zone hints, and fall back to them', () => {
  const hints = (name: string, zone: string) => ({
    hints: { forNodes: [{ name }], forZones: [{ name: zone }] },
  });
  const near = [at(2, 'node-1', hints('node-1', 'a')), at(2, 'node-2', hints('node-2', 'a'))];
  assert.deepEqual(served(near, [inZone('node-1', 'a')]), ['10.244.1.2']);
  const others = [at(2, 'node-2', hints('node-2', 'a')), at(2, 'node-3', hints('node-3', 'b'))];
  assert.deepEqual(served(others, [inZone('node-1', 'a')]), ['10.244.2.2']);
});

test('where no endpoint is for this zone, those of the region come first', () => {
  const both = [zoned(2, 'node-2', 'b'), zoned(2, 'node-3', 'c')];
  const nodes = [
    inZone('node-1', 'a', 'north'),
    inZone('node-2', 'b', 'south'),
    inZone('node-3', 'c', 'north'),
  ];
  assert.deepEqual(served(both, nodes), ['10.244.3.2']);
});

test('a node that moves to another zone touches services with hints and no other', () => {
  const plan = planOf(
    service(),
    [slice([zoned(2, 'node-1', 'a'), zoned(2, 'node-2', 'b')])],
    [inZone('node-1', 'a')],
  );
  plan.setService({
    ...service({ clusterIP: '10.96.0.2', type: 'ClusterIP' }),
    metadata: { namespace: 'x', name: 't' },
  });
  plan.update();
  plan.setNode(inZone('node-1', 'a'));
  assert.deepEqual(plan.update(), [], 'a heartbeat');
  plan.setNode(inZone('node-1', 'b'));
  const changes = plan.update().filter(({ table }) => table === 'services');
  assert.deepEqual(changes.map(({ key }) => key).toSorted(), [NODE_PORT, CLUSTER].toSorted());
});

test('weights come with the slice; where all drain, nobody does', () => {
  const two = [at(2, 'node-1'), at(3, 'node-1')];
  const weights = (text: string) =>
    frontend(planOf(service(), [slice(two, { 'heddle.dev/weights': text })]), CLUSTER).backends.map(
      ({ weight }) => weight,
    );
  assert.deepEqual(weights('10.244.1.2=5'), [5, undefined]);
  assert.deepEqual(weights('10.244.1.2=0,10.244.1.3=7'), [0, 7]);
  assert.deepEqual(weights('10.244.1.2=0,10.244.1.3=0'), [undefined, undefined]);
  assert.deepEqual(weights('10.244.1.2=70000,x=y'), [undefined, undefined]);
});

test('headless services have no frontend, whatever else they say', () => {
  const plan = planOf(service({ clusterIP: 'None', type: 'ClusterIP', externalIPs: ['192.0.2.1'] }));
  assert.equal(plan.state.services.size, 0);
});

const everything = {
  families: [4, 6],
  policy: true,
  cutsEstablished: true,
  sessionAffinity: true,
  services: {
    kinds: ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'],
    algorithms: ['random', 'maglev', 'least-connection'],
    forwarding: ['snat', 'dsr'],
    protocols: ['TCP', 'UDP', 'SCTP'],
    weights: true,
    sourceRanges: true,
    trafficPolicies: true,
  },
} as const;

test('what a backend cannot do is named with the backend, once for each Service and field', () => {
  const annotations = { 'heddle.dev/balance': 'least-connection', 'heddle.dev/forwarding': 'dsr' };
  const plan = planOf(
    balancer(
      {
        sessionAffinity: 'ClientIP',
        externalTrafficPolicy: 'Local',
        loadBalancerSourceRanges: ['192.0.2.0/24'],
      },
      { annotations },
    ),
    [slice([at(2, 'node-1')], { 'heddle.dev/weights': '10.244.1.2=5' })],
  );
  assert.deepEqual(plan.problems({ name: 'ebpf', capabilities: everything }), []);
  const poor = {
    ...everything,
    sessionAffinity: false,
    services: {
      ...everything.services,
      algorithms: ['random'] as const,
      forwarding: ['snat'] as const,
      weights: false,
      sourceRanges: false,
      trafficPolicies: false,
    },
  };
  const said = plan.problems({ name: 'poor', capabilities: poor });
  assert.ok(
    said.every(({ object, message }) => object === 'Service x/s' && /the poor backend/.test(message)),
  );
  assert.deepEqual(said.map(({ field }) => field).toSorted(), [
    'endpoints',
    'metadata.annotations[heddle.dev/balance]',
    'metadata.annotations[heddle.dev/forwarding]',
    'spec.externalTrafficPolicy',
    'spec.loadBalancerSourceRanges',
    'spec.sessionAffinity',
  ]);
  const { services: _none, ...plain } = everything;
  assert.deepEqual(
    plan
      .problems({ name: 'plain', capabilities: plain })
      .map(({ field }) => field)
      .includes('spec.type'),
    true,
  );
});

test('words that nobody understands are said', () => {
  const metadata = { namespace: 'x', name: 's', annotations: { 'heddle.dev/balance': 'fair' } };
  const [said] = planOf(service({}, { metadata })).problems({ name: 'any', capabilities: everything });
  assert.match(said?.message ?? '', /"fair" is none of random,/);
});

test('whatever is planned: backends sorted and of the family, drained ones never alone', () => {
  fc.assert(
    fc.property(fc.array(steps, { maxLength: 25 }), (list) => {
      const plan = createPlan({ node: 'node-1' });
      for (const step of list) step.run(plan);
      plan.update();
      for (const [key, value] of plan.state.services) {
        assert.equal(key, `${value.address}|${value.protocol}|${value.port}`);
        for (const backends of [value.backends, value.externalBackends ?? []]) {
          const texts = backends.map(({ address, port }) => `${address} ${port}`);
          assert.deepEqual(texts, [...new Set(texts)].toSorted());
          assert.ok(backends.every(({ address }) => address.includes(':') === value.address.includes(':')));
          assert.ok(backends.length === 0 || backends.some(({ weight }) => weight !== 0));
        }
        assert.ok((value.externalBackends ?? []).every(({ local }) => local));
      }
    }),
    { numRuns: 300 },
  );
});
