import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDecider } from '../decide.ts';
import { worlds } from '../testing/arbitraries.ts';
import type { PortProtocol, World } from '../world.ts';
import { connectivity, isWorkload, type Party } from './connectivity.ts';
import { createEstate } from './estate.ts';
import { createPortSets, type PortSet, type PortSets } from './port-set.ts';
import { type Assertion, createProver } from './prove.ts';
import type { Who } from './who.ts';

const who: fc.Arbitrary<Who> = fc.letrec<{ who: Who }>((tie) => ({
  who: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<Who>(
      { type: 'anybody' },
      { type: 'outside' },
      { type: 'namespace', name: 'a' },
      { type: 'workload', namespace: 'b', name: 'p1' },
      { type: 'workload', namespace: 'a', name: 'p2' },
      { type: 'pods', namespace: undefined, selector: { matchLabels: { app: 'web' } } },
      { type: 'range', cidr: '10.244.0.0/16' },
      { type: 'range', cidr: 'fd00:10:244::/48' },
    ),
    tie('who').map((each): Who => ({ type: 'not', who: each })),
    fc.array(tie('who'), { maxLength: 2 }).map((list): Who => ({ type: 'any-of', list })),
  ),
})).who;

const ports = fc.constantFrom<Assertion['ports']>(
  (sets) => sets.none,
  (sets) => sets.all,
  (sets) => sets.of([[[80, 443]], [[53, 53]]]),
);

const assertion = fc.record({
  from: who,
  to: who,
  must: fc.constantFrom('only' as const, 'never' as const, 'always' as const),
  ports,
});

const breaks = (must: Assertion['must'], isListed: boolean, verdict: 'allow' | 'deny'): boolean => {
  if (must === 'only') return verdict === 'allow' && !isListed;
  return must === 'never' ? verdict === 'allow' && isListed : verdict === 'deny' && isListed;
};

function isIn(sets: PortSets, { ports: of }: Assertion, protocol: PortProtocol, port: number): boolean {
  const index = ['TCP', 'UDP', 'SCTP'].indexOf(protocol);
  return of(sets).ranges[index]!.some(([first, last]) => first <= port && port <= last);
}

test('a counterexample breaks the assertion; what holds is broken by no connection of either family', () => {
  let [held, broken] = [0, 0];
  fc.assert(
    fc.property(worlds, assertion, (world, each) => {
      const estate = createEstate({ ...world, nodeLocal: [] }, () => undefined);
      const proof = createProver(estate)(each);
      const sets = createPortSets();
      if (!proof.holds) {
        if ('nobody' in proof) return;
        broken++;
        const { flow, decision } = proof.counterexample;
        assert.deepEqual(createDecider(estate.world)(flow), decision);
        assert.ok(
          breaks(each.must, isIn(sets, each, flow.protocol as PortProtocol, flow.port!), decision.verdict),
        );
        return;
      }
      held++;
      if (each.must === 'always') return;
      const anyone = [each.from, each.to].every(({ type }) => type === 'anybody');
      for (const family of anyone ? ([4, 6] as const) : [])
        for (const { set } of connectivity(estate, { sets, family })) {
          const wrong: PortSet =
            each.must === 'only' ? sets.minus(set, each.ports(sets)) : sets.and(set, each.ports(sets));
          assert.equal(wrong, sets.none);
        }
    }),
    { numRuns: 400 },
  );
  assert.ok(held > 20 && broken > 20, `${held} held, ${broken} were broken`);
});

const isPod = (party: Party, name: string) =>
  isWorkload(party) && `${party.namespace}/${party.name}` === name;

test('of two workloads, an assertion holds if and only if their connection says so', () => {
  fc.assert(
    fc.property(worlds, ports, (world, of) => {
      const estate = createEstate({ ...world, nodeLocal: [] }, () => undefined);
      const prove = createProver(estate);
      const sets = createPortSets();
      const lists = ([4, 6] as const).map((family) => [...connectivity(estate, { sets, family })]);
      for (const src of estate.workloads)
        for (const dst of estate.workloads) {
          if (src === dst) continue;
          const [from, to] = [src, dst].map(
            (w): Who => ({ type: 'workload', namespace: w.namespace, name: w.name }),
          );
          const names = [src, dst].map((w) => `${w.namespace}/${w.name}`);
          const sound = lists.map((list) => {
            const found = list.find((c) => isPod(c.src, names[0]!) && isPod(c.dst, names[1]!));
            return found?.set ?? sets.none;
          });
          const wanted = of(sets);
          const expected = {
            only: sound.every((set) => sets.minus(set, wanted) === sets.none),
            never: sound.every((set) => sets.and(set, wanted) === sets.none),
            always: sound.every((set) => sets.minus(wanted, set) === sets.none),
          };
          for (const must of ['only', 'never', 'always'] as const)
            assert.equal(prove({ from: from!, to: to!, must, ports: of }).holds, expected[must]);
        }
    }),
    { numRuns: 60 },
  );
});

test('a range that is all of a pod is no address outside', () => {
  const podOf = (name: string, address: string) => ({
    namespace: 'a',
    name,
    node: 'node-1',
    labels: {},
    addresses: [address],
    ports: [],
  });
  const networks = ['10.244.1.1/32', '10.244.1.2/32'];
  const world: World = {
    pods: [podOf('p1', '10.244.1.1'), podOf('p2', '10.244.1.2')],
    namespaces: [{ name: 'a', labels: {} }],
    nodes: [],
    policies: [
      {
        apiVersion: 'policy.networking.k8s.io/v1alpha1',
        kind: 'BaselineAdminNetworkPolicy',
        metadata: { name: 'default' },
        spec: { subject: { namespaces: {} }, egress: [{ action: 'Deny', to: [{ networks }] }] },
      },
    ],
  };
  const proveOf = (to: Who) =>
    createProver(createEstate(world, () => undefined))({
      from: { type: 'anybody' },
      to,
      must: 'always',
      ports: ({ all }) => all,
    });
  assert.equal(proveOf({ type: 'outside' }).holds, true);
  const broken = proveOf({ type: 'anybody' });
  assert.ok(!broken.holds && 'counterexample' in broken);
  assert.deepEqual(broken.counterexample.flow.dst, { pod: 'a/p2' });
});
