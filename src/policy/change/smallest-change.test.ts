import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDecider } from '../decide.ts';
import { flowsIn, policyObject, worlds } from '../testing/arbitraries.ts';
import { flowOf } from '../testing/flow-text.ts';
import type { World, WorldPod } from '../world.ts';
import { partyText } from '../analyse/connectivity.ts';
import { diff } from '../analyse/diff.ts';
import { createEstate, type Estate } from '../analyse/estate.ts';
import { smallestChange as answer } from './smallest-change.ts';

const smallestChange = (...args: Parameters<typeof answer>) => answer(...args).change;

const pod = (namespace: string, name: string, labels = { app: name }): WorldPod => ({
  namespace,
  name,
  node: '',
  labels,
  addresses: [],
  ports: [],
});

const estateOf = (world: Partial<World>): Estate =>
  createEstate({ pods: [], namespaces: [], nodes: [], policies: [], ...world }, () => undefined);

const shop = (spec: object) =>
  estateOf({
    pods: [pod('shop', 'web'), pod('shop', 'cart'), pod('shop', 'db'), pod('tools', 'scan')],
    policies: [policyObject('shop', 'db', { podSelector: { matchLabels: { app: 'db' } }, ...spec })],
  });

const fromWeb = { from: [{ podSelector: { matchLabels: { app: 'web' } } }], ports: [{ port: 5432 }] };

for (const { what, spec, flow, path, value } of [
  {
    what: 'a port more is a port more',
    spec: { ingress: [fromWeb] },
    flow: 'shop/web > shop/db TCP 5433',
    path: 'spec.ingress[0].ports',
    value: { protocol: 'TCP', port: 5433 },
  },
  {
    what: 'a peer more is a peer more',
    spec: { ingress: [fromWeb] },
    flow: 'shop/cart > shop/db TCP 5432',
    path: 'spec.ingress[0].from',
    value: { podSelector: { matchLabels: { app: 'cart' } } },
  },
  {
    what: 'a rule that allows more ports than the flow has is not given a peer',
    spec: { ingress: [{ ...fromWeb, ports: [{ port: 5432 }, { port: 22 }] }] },
    flow: 'tools/scan > shop/db TCP 5432',
    path: 'spec.ingress',
    value: {
      from: [
        {
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'tools' } },
          podSelector: { matchLabels: { app: 'scan' } },
        },
      ],
      ports: [{ protocol: 'TCP', port: 5432 }],
    },
  },
  {
    what: 'an address becomes a range of one',
    spec: { policyTypes: ['Egress'] },
    flow: 'shop/db > 192.0.2.7 UDP 53',
    path: 'spec.egress',
    value: { to: [{ ipBlock: { cidr: '192.0.2.7/32' } }], ports: [{ protocol: 'UDP', port: 53 }] },
  },
])
  test(what, () => {
    const change = smallestChange(shop(spec), flowOf(flow));
    assert.deepEqual(
      change?.edits.map((edit) => [edit.path, edit.value]),
      [[path, value]],
    );
    assert.deepEqual(change?.also, []);
  });

test('where a policy selects more than the destination, the change is a policy of its own', () => {
  const estate = estateOf({
    pods: [pod('shop', 'web'), pod('shop', 'cart'), pod('shop', 'db')],
    policies: [policyObject('shop', 'deny', { podSelector: {} })],
  });
  const change = smallestChange(estate, flowOf('shop/web > shop/db TCP 5432'));
  assert.deepEqual(change?.also, []);
  const [edit] = change?.edits ?? [];
  assert.equal(edit?.path, '');
  assert.deepEqual((edit?.value as { metadata: object } | undefined)?.metadata, {
    namespace: 'shop',
    name: 'db-ingress-tcp-5432',
  });
});

test('workloads that no label tells apart are opened together, and told', () => {
  const twins = [pod('shop', 'one', { app: 'twin' }), pod('shop', 'two', { app: 'twin' })];
  const estate = estateOf({
    pods: [pod('shop', 'web'), ...twins],
    policies: [policyObject('shop', 'deny', { podSelector: { matchLabels: { app: 'twin' } } })],
  });
  const change = smallestChange(estate, flowOf('shop/web > shop/one TCP 80'));
  assert.deepEqual(
    change?.also.map(({ src, dst }) => `${partyText(src)} > ${partyText(dst)}`),
    ['shop/web (Pod) > shop/two (Pod)'],
  );
});

test('an allowed flow is denied by a policy before all others, and nothing else is', () => {
  const change = smallestChange(shop({ ingress: [fromWeb] }), flowOf('shop/web > shop/db TCP 5432'));
  assert.deepEqual([change?.turned, change?.also], ['deny', []]);
  assert.equal(change?.edits[0]?.policy.kind, 'AdminNetworkPolicy');
});

test('what only a rule that nobody can put before another would turn is not turned', () => {
  const estate = shop({ ingress: [fromWeb] });
  // Ingress of such policies knows no addresses, and nothing is enforced outside.
  const open = estateOf({ pods: estate.world.pods });
  assert.equal(smallestChange(open, flowOf('192.0.2.1 > shop/db TCP 5432')), undefined);
  assert.equal(smallestChange(estate, flowOf('shop/db > shop/db TCP 5432')), undefined);
});

test('a change that is found turns the flow, and what it changes beside is told', () => {
  const draws = worlds.chain((world) => flowsIn(world).map((flow) => ({ world, flow })));
  let found = 0;
  fc.assert(
    fc.property(draws, ({ world, flow }) => {
      const estate = estateOf(world);
      const change = smallestChange(estate, flow);
      if (!change) return;
      found++;
      assert.equal(createDecider(change.world)(flow).verdict, change.turned);
      assert.notEqual(createDecider(world)(flow).verdict, change.turned);
      const changes = [...diff(estate, { ...estate, world: change.world }, { family: flow.family })];
      // At most the flow's own pair is not told.
      assert.ok(changes.length - change.also.length <= 1);
    }),
    { numRuns: 300 },
  );
  assert.ok(found > 10, `only ${found} flows could be turned`);
});
