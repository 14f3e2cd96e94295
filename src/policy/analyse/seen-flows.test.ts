import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDecider } from '../decide.ts';
import type { Flow, World, WorldPod } from '../world.ts';
import { createEstate } from './estate.ts';
import { generate } from './generate.ts';
import { deniedBy, type SeenFlow, seenCalls } from './seen-flows.ts';

const OUTSIDE = ['198.51.100.7', '203.0.113.9', '2001:db8::7'];
const names = ['web', 'cart', 'db'];

const pods: WorldPod[] = ['a', 'b'].flatMap((namespace, n) =>
  names.flatMap((app, i) =>
    [1, 2].map(
      (replica): WorldPod => ({
        namespace,
        name: `${app}-${replica}`,
        node: `node-${replica}`,
        labels: { app },
        addresses: [`10.244.${n}.${i * 2 + replica}`, `fd00:10:244::${n}:${i * 2 + replica}`],
        ports: [],
      }),
    ),
  ),
);
const world: World = {
  pods,
  namespaces: [],
  nodes: [1, 2].map((n) => ({ name: `node-${n}`, addresses: [`10.240.0.${n}`, `fd00:10:240::${n}`] })),
  policies: [],
};
const estate = createEstate(world, (pod) => ({ kind: 'Deployment', name: pod.labels['app'] ?? '' }));
const inside = pods.flatMap(({ addresses }) => addresses);
const nodes = world.nodes.flatMap(({ addresses }) => addresses);
const PORTS = [80, 81, 443, 5432];

const flows = fc
  .record({
    src: fc.constantFrom(...inside, ...inside, ...OUTSIDE, ...nodes),
    dst: fc.constantFrom(...inside, ...inside, ...OUTSIDE, ...nodes),
    protocol: fc.constantFrom('TCP', 'TCP', 'UDP', 'SCTP', 'ICMP'),
    port: fc.constantFrom(...PORTS),
  })
  .filter(({ src, dst }) => src !== dst && src.includes(':') === dst.includes(':'));

/** What generated policies tell apart: workloads, addresses of others. */
const partyOf = (address: string): string => {
  const pod = pods.find(({ addresses }) => addresses.includes(address));
  return pod ? `${pod.namespace}/${pod.labels['app'] ?? ''}` : address;
};
/** Between a pod and its own node everything passes: nothing is learned of it. */
const isOwnNodes = ({ src, dst }: SeenFlow): boolean =>
  [
    [src, dst],
    [dst, src],
  ].some(([ofPod, ofNode]) => {
    const pod = pods.find(({ addresses }) => addresses.includes(ofPod!));
    return world.nodes.some(({ name, addresses }) => name === pod?.node && addresses.includes(ofNode!));
  });
const keyOf = ({ src, dst, protocol, port }: SeenFlow): string =>
  `${partyOf(src)} > ${partyOf(dst)} ${protocol} ${port}`;

test('policies from flows allow each flow that was seen, and between its ends and others nothing else', () => {
  fc.assert(
    fc.property(
      fc.array(flows, { maxLength: 12 }),
      fc.array(flows, { minLength: 20, maxLength: 20 }),
      (seen, others) => {
        const learned = seenCalls(estate, seen);
        const generated = generate(estate, learned.calls);
        assert.deepEqual(generated.differences, []);
        assert.deepEqual(deniedBy(estate, generated, learned.flows), []);
        const decide = createDecider({ ...world, policies: generated.policies });
        const told = seen.filter((flow) => flow.protocol !== 'ICMP' && !isOwnNodes(flow));
        const known = new Set(told.map(keyOf));
        for (const { src, dst, protocol, port } of [...seen, ...others]) {
          if (protocol === 'ICMP') continue;
          const flow = { src: { address: src }, dst: { address: dst }, protocol, port } as Flow;
          const { verdict, egress, ingress } = decide(flow);
          if ([egress, ingress].some(({ reason }) => reason === 'own-node' || reason === 'self')) continue;
          const isPolicys = inside.includes(src) || inside.includes(dst);
          const expected = known.has(keyOf({ src, dst, protocol, port })) || !isPolicys ? 'allow' : 'deny';
          assert.equal(verdict, expected, keyOf({ src, dst, protocol, port }));
        }
      },
    ),
    { numRuns: 200 },
  );
});

test('what a pod and its own node say to each other opens that node to no other pod of the workload', () => {
  const ownNode = { src: 'fd00:10:244::0:5', dst: 'fd00:10:240::1', protocol: 'TCP', port: 81 };
  const learned = seenCalls(estate, [ownNode]);
  assert.deepEqual([learned.calls, learned.leftOut], [[], []]);
  const decide = createDecider({ ...world, policies: generate(estate, learned.calls).policies });
  const from = (address: string) =>
    decide({ src: { address }, dst: { address: ownNode.dst }, protocol: 'TCP', port: 81 }).verdict;
  assert.deepEqual([from('fd00:10:244::0:5'), from('fd00:10:244::0:6')], ['allow', 'deny']);
});

test('what no policy can allow alone is told, with an example and how often', () => {
  const seen = [
    { src: '10.244.0.1', dst: '10.244.1.3', protocol: 'ICMP', port: 0 },
    { src: '10.244.0.2', dst: '10.244.1.3', protocol: 'ICMP', port: 0 },
    { src: '10.244.0.1', dst: '10.244.9.9', protocol: 'TCP', port: 80 },
    { src: '10.240.0.1', dst: '10.244.0.1', protocol: 'TCP', port: 80 },
    { src: '198.51.100.7', dst: '203.0.113.9', protocol: 'TCP', port: 80 },
  ];
  const { calls, leftOut } = seenCalls(estate, seen, { podRanges: ['10.244.0.0/16'] });
  assert.deepEqual(calls, [], 'a pod’s own node, and what is between others, is no policy’s');
  assert.deepEqual(
    leftOut.map(({ count, example }) => [count, example]),
    [
      [2, '10.244.0.1 > 10.244.1.3 ICMP'],
      [1, '10.244.0.1 > 10.244.9.9 TCP'],
    ],
  );
});

test('clients outside can be let in whoever they are', () => {
  const seen = OUTSIDE.map((src) => ({
    src,
    dst: src.includes(':') ? 'fd00:10:244::0:1' : '10.244.0.1',
    protocol: 'TCP',
    port: 80,
  }));
  const of = (outside: 'addresses' | 'any') =>
    seenCalls(estate, seen, { outside }).calls.map(({ from }) => ('cidr' in from ? from.cidr : ''));
  assert.deepEqual(of('addresses'), ['198.51.100.7/32', '203.0.113.9/32', '2001:db8::7/128']);
  assert.deepEqual(of('any'), ['0.0.0.0/0', '::/0']);
});
