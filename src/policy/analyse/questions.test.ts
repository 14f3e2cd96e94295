import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { policyObject, worlds } from '../testing/arbitraries.ts';
import type { World, WorldPod } from '../world.ts';
import { blastRadius } from './blast-radius.ts';
import { connectivity, isWorkload } from './connectivity.ts';
import { createEstate, type Estate, workloadText } from './estate.ts';
import { exposure } from './exposure.ts';
import { type Call, generate } from './generate.ts';
import { portSetText } from './port-set.ts';

const pod = (namespace: string, name: string, more: Partial<WorldPod> = {}): WorldPod => ({
  namespace,
  name,
  node: '',
  labels: { app: name },
  addresses: [],
  ports: [],
  ...more,
});

const estateOf = (world: Partial<World>): Estate =>
  createEstate({ pods: [], namespaces: [], nodes: [], policies: [], ...world }, () => undefined);

test('blast radius is what following connections finds, nearest first', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (world, n) => {
      const estate = createEstate(world, () => undefined);
      const from = estate.workloads[n % estate.workloads.length]!;
      const next = new Map(estate.workloads.map((each) => [each, new Set<unknown>()]));
      for (const { src, dst } of connectivity(estate)) if (isWorkload(src)) next.get(src)!.add(dst);
      const hops = new Map<unknown, number>([[from, 0]]);
      for (let changed = true; changed; ) {
        changed = false;
        for (const [src, list] of next)
          for (const dst of list)
            if (
              isWorkload(dst as never) &&
              hops.has(src) &&
              hops.get(src)! + 1 < (hops.get(dst) ?? Infinity)
            ) {
              hops.set(dst, hops.get(src)! + 1);
              changed = true;
            }
      }
      const { reached, safe } = blastRadius(estate, from);
      for (const each of reached) {
        assert.equal(each.hops, hops.get(each.workload));
        assert.equal(hops.get(each.via), each.hops - 1);
      }
      assert.equal(reached.length, hops.size - 1);
      assert.ok(safe.every((each) => !hops.has(each)));
      assert.deepEqual(
        reached.map((each) => each.hops),
        reached.map((each) => each.hops).toSorted((a, b) => a - b),
      );
    }),
    { numRuns: 100 },
  );
});

test('with declared ports only what containers listen on can fall', () => {
  const http = [{ port: 80, protocol: 'TCP' }] as const;
  const estate = estateOf({ pods: [pod('a', 'web'), pod('a', 'api', { ports: http }), pod('a', 'mute')] });
  const from = estate.workloads.find(({ name }) => name === 'web')!;
  const { reached } = blastRadius(estate, from, { declared: true });
  assert.deepEqual(
    reached.map(({ workload, set }) => [workload.name, portSetText(set)]),
    [['api', 'TCP 80']],
  );
});

test('policies from a call graph allow between workloads what is declared and nothing else', () => {
  const names = ['w1', 'w2', 'w3', 'w4'];
  const spaces = ['a', 'b'];
  const estate = estateOf({ pods: spaces.flatMap((space) => names.map((name) => pod(space, name))) });
  const party = fc.constantFrom(...estate.workloads);
  const port = fc
    .tuple(
      fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
      fc.integer({ min: 1, max: 9 }),
      fc.nat(3),
    )
    .map(([protocol, first, more]) => ({ protocol, first, last: first + more }));
  const call: fc.Arbitrary<Call> = fc.record({
    from: party,
    to: party,
    ports: fc.option(fc.array(port, { minLength: 1, maxLength: 3 })),
  });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 8 }), (calls) => {
      const { policies, differences, beyond } = generate(estate, calls, { dns: true });
      assert.deepEqual([differences, beyond], [[], []]);
      assert.equal(policies.length, estate.workloads.length);
      const pairs = new Set(
        calls
          .filter(({ from, to }) => from !== to)
          .map(({ from, to }) => `${workloadText(from as never)} ${workloadText(to as never)}`),
      );
      const told = [...connectivity({ ...estate, world: { ...estate.world, policies } })].map(
        ({ src, dst }) => `${workloadText(src as never)} ${workloadText(dst as never)}`,
      );
      assert.deepEqual(new Set(told), pairs);
    }),
    { numRuns: 100 },
  );
});

test('what labels cannot tell apart, and what no policy selects, is told', () => {
  const twins = ['one', 'two'].map((name) => pod('a', name, { labels: { app: 'twin' } }));
  const estate = estateOf({
    pods: [pod('a', 'web'), ...twins, pod('a', 'agent', { hostNetwork: true, node: 'n' })],
  });
  const at = (name: string) => estate.workloads.find((each) => each.name === name)!;
  const ports = [{ protocol: 'TCP', first: 80, last: 80 }] as const;
  const { differences, beyond } = generate(estate, [{ from: at('web'), to: at('one'), ports }]);
  assert.ok(
    differences.some(
      ({ src, dst, declared, allowed }) =>
        src === at('web') &&
        dst === at('two') &&
        portSetText(declared) === 'nothing' &&
        portSetText(allowed) === 'TCP 80',
    ),
  );
  assert.deepEqual(beyond, [at('agent')]);
});

test('exposure tells any pod from pods that a selector awaits', () => {
  const estate = estateOf({
    pods: [pod('shop', 'db'), pod('shop', 'web')],
    policies: [
      policyObject('shop', 'db', {
        podSelector: { matchLabels: { app: 'db' } },
        ingress: [
          { from: [{ namespaceSelector: {} }], ports: [{ port: 80 }] },
          { from: [{ podSelector: { matchLabels: { app: 'web' } } }], ports: [{ port: 81 }] },
          { from: [{ podSelector: { matchLabels: { app: 'later' } } }], ports: [{ port: 82 }] },
          { from: [{ ipBlock: { cidr: '0.0.0.0/0' } }], ports: [{ port: 83 }] },
        ],
      }),
    ],
  });
  const told = exposure(estate).map(({ workload, direction, isolated, anyPod, awaited }) => [
    `${workload.name} ${direction} ${isolated}`,
    portSetText(anyPod),
    ...awaited.map(({ who, set }) => `${who}: ${portSetText(set)}`),
  ]);
  assert.deepEqual(told, [
    ['db ingress true', 'TCP 80', 'pods app=later in shop: TCP 80,82'],
    ['db egress false', 'all ports'],
    ['web ingress false', 'all ports'],
    ['web egress false', 'all ports'],
  ]);
});

test('exposure to pods that are not known is what the mesh lets pass of it', () => {
  const authz = (rules: object[]) => ({
    apiVersion: 'security.istio.io/v1',
    kind: 'AuthorizationPolicy',
    metadata: { namespace: 'a', name: 'z' },
    spec: { rules },
  });
  const anyPodOf = (rules: object[]) => {
    const pods = [{ namespace: 'a', name: 'db', node: '', labels: {}, addresses: [], ports: [] }];
    const world = { pods, namespaces: [], nodes: [], policies: [], mesh: [authz(rules)] } as unknown as World;
    const [ingress, egress] = exposure(createEstate(world, () => undefined));
    return [ingress?.anyPod.ranges[0], egress?.anyPod.ranges[0]];
  };
  const all = [[1, 65535]];
  const to = [{ operation: { ports: ['80'] } }];
  assert.deepEqual(anyPodOf([{ to }]), [[[80, 80]], all]);
  assert.deepEqual(anyPodOf([{ from: [{ source: { principals: ['*'] } }], to }]), [[[80, 80]], all]);
  assert.deepEqual(anyPodOf([{ from: [{ source: { namespaces: ['a'] } }], to }]), [[], all]);
});
