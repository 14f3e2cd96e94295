import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EndpointSlice, Service } from '../../api/types.ts';
import { HeddleError } from '../../lib/errors.ts';
import { tryParseCidr, tryParseAddress, contains } from '../../lib/ip.ts';
import { createDecider } from '../../policy/decide.ts';
import { flowsIn, stagedWorlds, worlds } from '../../policy/testing/arbitraries.ts';
import { wireFlow } from '../../policy/wire-flow.ts';
import type { World } from '../../policy/world.ts';
import { schemaViolations } from '../../../test/schema.ts';
import { viewsOf } from '../testing/views.ts';
import { packetOf } from './ends.ts';
import type { Trace, TraceStep } from './result.ts';
import { trace } from './trace.ts';

const drawn = fc
  .oneof(worlds, stagedWorlds)
  .chain((world) => flowsIn(world).map((flow) => ({ world, flow })));
const serviceRange = tryParseCidr('10.96.0.0/16')!;
const NO_DRY = { byPlan: [], ways: [], differences: [] };
const serviceRange6 = tryParseCidr('fd00:10:96::/112')!;

/** Of a node's range, and no pod's: such a packet is dropped, whatever policies say. */
function isNobodys({ nodes, pods }: World, text: string): boolean {
  const address = tryParseAddress(text)!;
  const ranges = nodes.flatMap((_, i) => [`10.244.${i + 1}.0/24`, `fd00:10:244:${i + 1}::/64`]);
  const isPod = pods.some(({ addresses, hostNetwork }) => addresses.includes(text) && !hostNetwork);
  return !isPod && ranges.some((range) => contains(tryParseCidr(range)!, address));
}

test('a trace says what the policies say, rule by rule', () => {
  let policies = 0;
  fc.assert(
    fc.property(drawn, ({ world, flow }) => {
      const wire = wireFlow(world, flow);
      const dst = tryParseAddress(wire.dst)!;
      // Service addresses are refused before policy is asked.
      fc.pre(![serviceRange, serviceRange6].some((range) => contains(range, dst)));
      const views = viewsOf(world);
      const placed = (address: string) => {
        const pod = world.pods.find((each) => each.addresses.includes(address) && !each.hostNetwork);
        return pod === undefined || views.has(pod.node);
      };
      fc.pre(placed(wire.src) && placed(wire.dst) && !isNobodys(world, wire.dst));
      const packet = {
        protocol: wire.protocol,
        src: wire.src,
        sport: 0,
        dst: wire.dst,
        dport: wire.port ?? 0,
      };
      const traced = trace(packet, views);
      assert.ok(traced);
      const decision = createDecider(world)(flow);
      assert.equal(traced.verdict, decision.verdict, JSON.stringify(traced, undefined, 1));
      for (const direction of ['egress', 'ingress'] as const) {
        const step: TraceStep | undefined = traced.branches[0]?.steps.find(
          (each) => each.direction === direction,
        );
        // Ingress is not asked once egress has denied.
        if (!step || decision[direction].reason === 'not-a-pod') continue;
        const { ruleNumber, audit } = decision[direction];
        assert.equal(step.rule, ruleNumber, direction);
        assert.equal(step.audit?.rule ?? ruleNumber, audit.ruleNumber, direction);
        if (step.rule !== 0) policies++;
      }
      assert.deepEqual(schemaViolations('datapath-trace', { trace: traced, dry: NO_DRY, live: null }), []);
    }),
    { numRuns: 150 },
  );
  assert.ok(policies > 20, 'rules decide');
});

const world: World = {
  nodes: [
    { name: 'node-1', addresses: ['10.240.0.11', 'fd00:10:240::b'] },
    { name: 'node-2', addresses: ['10.240.0.12', 'fd00:10:240::c'] },
  ],
  namespaces: [{ name: 'shop', labels: {} }],
  nodeLocal: ['10.96.0.10'],
  pods: [
    pod('frontend-5d8f-abcde', 'node-1', 2, { app: 'frontend' }),
    pod('cart-0', 'node-1', 3, { app: 'cart' }),
    pod('cart-1', 'node-2', 4, { app: 'cart' }),
    pod('spy', 'node-2', 5, { app: 'spy' }),
  ],
  policies: [
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { namespace: 'shop', name: 'cart' },
      spec: {
        podSelector: { matchLabels: { app: 'cart' } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: 'frontend' } } }], ports: [{ port: 8080 }] }],
      },
    },
  ],
};

function pod(
  name: string,
  node: string,
  host: number,
  labels: Record<string, string>,
): World['pods'][number] {
  const n = node === 'node-1' ? 1 : 2;
  return {
    namespace: 'shop',
    name,
    node,
    labels,
    addresses: [`10.244.${n}.${host}`, `fd00:10:244:${n}::${host}`],
    ports: [],
  };
}

function cartService(spec: object = {}, endpoints = ['10.244.1.3', '10.244.2.4']) {
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'shop', name: 'cart' },
    spec: {
      clusterIP: '10.96.0.20',
      clusterIPs: ['10.96.0.20'],
      ports: [{ port: 80, protocol: 'TCP', targetPort: 8080 }],
      ...spec,
    },
  } as Service;
  const slice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: 'shop', name: 'cart-x', labels: { 'kubernetes.io/service-name': 'cart' } },
    addressType: 'IPv4',
    ports: [{ port: 8080, protocol: 'TCP' }],
    endpoints: endpoints.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  } as EndpointSlice;
  return { service, slices: endpoints.length > 0 ? [slice] : [] };
}

const words = (traced: Trace | undefined): string[] =>
  [...(traced?.steps ?? []), ...(traced?.branches.flatMap(({ steps }) => steps) ?? [])].map(
    ({ at, stage, verdict }) => `${at} ${stage} ${verdict}`,
  );

function traceWords(from: string, to: string, services = [cartService()]): Trace {
  const views = viewsOf(world, services);
  const traced = trace(packetOf({ from, to, protocol: 'TCP' }, [...views.values()]), views);
  assert.ok(traced);
  assert.deepEqual(schemaViolations('datapath-trace', { trace: traced, dry: NO_DRY, live: null }), []);
  return traced;
}

test('through a service: each backend is a way of its own, on this node and through the tunnel', () => {
  const traced = traceWords('shop/frontend', 'shop/cart:80');
  assert.equal(traced.verdict, 'allow');
  assert.deepEqual(
    traced.branches.map(({ name, node, dst, dport, share }) => [name, node, dst, dport, share]),
    [
      ['shop/cart-0', 'node-1', '10.244.1.3', 8080, 0.5],
      ['shop/cart-1', 'node-2', '10.244.2.4', 8080, 0.5],
    ],
  );
  assert.deepEqual(words(traced), [
    'node-1 source pass',
    'node-1 service pass',
    'node-1 policy pass',
    'node-1 route pass',
    'node-1 policy pass',
    'node-1 deliver pass',
    'node-1 reply pass',
    'node-1 policy pass',
    'node-1 route pass',
    'node-2 policy pass',
    'node-2 deliver pass',
    'node-1 reply pass',
  ]);
  const [, remote] = traced.branches;
  assert.match(
    remote?.steps.find(({ direction }) => direction === 'ingress')?.text ?? '',
    /NetworkPolicy shop\/cart/,
  );
  assert.match(remote?.steps[1]?.text ?? '', /VXLAN.*node-2, 10\.240\.0\.12, MAC 02:72:0a:f0:00:0c/);
});

test('a pod that no rule admits is denied where the policy is enforced', () => {
  const traced = traceWords('shop/spy', 'shop/cart:80');
  assert.equal(traced.verdict, 'deny');
  for (const { steps, node } of traced.branches) {
    const last = steps.at(-1);
    assert.deepEqual(
      [last?.at, last?.stage, last?.verdict, last?.direction],
      [node, 'policy', 'deny', 'ingress'],
    );
    assert.match(last?.text ?? '', /default deny ingress/);
  }
});

test('a service without backends refuses, and so does a service address that serves nothing', () => {
  assert.equal(traceWords('shop/frontend', 'shop/cart:80', [cartService({}, [])]).verdict, 'refuse');
  assert.equal(traceWords('shop/frontend', '10.96.0.99:80').verdict, 'refuse');
});

test('a client outside is seen as the node where its connection is forwarded', () => {
  const services = [
    cartService({
      type: 'NodePort',
      ports: [{ port: 80, protocol: 'TCP', targetPort: 8080, nodePort: 30080 }],
    }),
  ];
  const traced = traceWords('203.0.113.9', '10.240.0.11:30080', services);
  assert.deepEqual(
    traced.branches.map(({ name, seenAs }) => [name, seenAs]),
    [
      ['shop/cart-0', '203.0.113.9'],
      ['shop/cart-1', '10.240.0.11'],
    ],
  );
});

test('a node port of another node: out by policy, over the underlay, and on from there', () => {
  const services = [
    cartService({
      type: 'NodePort',
      ports: [{ port: 80, protocol: 'TCP', targetPort: 8080, nodePort: 30080 }],
    }),
  ];
  const traced = traceWords('shop/frontend', '10.240.0.12:30080', services);
  assert.deepEqual(
    traced.steps.map(({ at, stage }) => `${at} ${stage}`),
    ['node-1 source', 'node-1 policy', 'node-1 route', 'node-2 service'],
  );
  assert.deepEqual(
    traced.branches.map(({ name, seenAs, verdict }) => [name, seenAs, verdict]),
    [
      // Judged by the node that forwards it, which no rule admits.
      ['shop/cart-0', '10.240.0.12', 'deny'],
      ['shop/cart-1', '10.244.1.2', 'allow'],
    ],
  );
});

test('an address that no pod has ends at the node in whose range it is', () => {
  for (const [to, node] of [
    ['10.244.1.77:80', 'node-1'],
    ['10.244.2.77:80', 'node-2'],
  ] as const) {
    const traced = traceWords('shop/frontend', to);
    const last = traced.branches[0]?.steps.at(-1);
    assert.deepEqual([traced.verdict, last?.at, last?.verdict], ['drop', node, 'drop']);
    assert.match(last?.text ?? '', /no pod has it/);
  }
});

test('a pod leaves the cluster as its node', () => {
  const traced = traceWords('shop/frontend', '203.0.113.1:443');
  assert.deepEqual([traced.verdict, traced.branches[0]?.seenAs], ['allow', '10.240.0.11']);
});

test('an agent that cannot be asked makes the answer unknown, not wrong', () => {
  const views = viewsOf(world, [cartService()]);
  views.delete('node-2');
  const packet = packetOf({ from: 'shop/frontend', to: 'shop/cart:80', protocol: 'TCP' }, [
    ...views.values(),
  ]);
  const traced = trace(packet, views);
  assert.equal(traced?.verdict, 'mixed');
  assert.match(traced?.branches[1]?.steps.at(-1)?.text ?? '', /agent of node-2 could not be asked/);
  assert.equal(trace({ ...packet, src: '10.244.2.5' }, views), undefined);
});

for (const [from, to, message] of [
  ['shop/frontend', 'shop/cart', /shop\/cart has no TCP port/],
  ['shop/frontend', 'shop/cart-0', /expected a port/],
  ['shop/nobody', 'shop/cart:80', /no pod shop\/nobody/],
  ['shop/frontend', 'shop/cart:81', /shop\/cart has no TCP port 81 \(it has TCP 80\)/],
  ['shop/frontend', '10.0.0.1:99999', /port from 1/],
  ['nonsense', 'shop/cart:80', /expected an address/],
  ['fd00::1', '10.0.0.1:80', /no addresses of one family/],
] as const)
  test(`${from} to ${to} is refused in words`, () => {
    const views = [...viewsOf(world, [cartService()]).values()];
    assert.throws(() => packetOf({ from, to, protocol: 'TCP' }, views), { code: 'BadPacket', message });
  });

test('ends are read as people write them', () => {
  const views = [...viewsOf(world, [cartService()]).values()];
  const read = (from: string, to: string) => {
    const { src, sport, dst, dport } = packetOf({ from, to, protocol: 'TCP' }, views);
    return [src, sport, dst, dport];
  };
  assert.deepEqual(read('shop/spy:4000', '[fd00:10:244:1::3]:80'), [
    'fd00:10:244:2::5',
    4000,
    'fd00:10:244:1::3',
    80,
  ]);
  assert.deepEqual(read('node-1', 'shop/cart-0:8080'), ['10.240.0.11', 0, '10.244.1.3', 8080]);
  fc.assert(
    fc.property(fc.string(), fc.string(), (from, to) => {
      try {
        packetOf({ from, to, protocol: 'TCP' }, views);
      } catch (error) {
        assert.ok(error instanceof HeddleError && error.code === 'BadPacket', String(error));
      }
    }),
  );
});
