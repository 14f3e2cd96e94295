import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findKind } from '../../api/registry.ts';
import { typeErrors, unknownFields } from '../../api/schema/check.ts';
import type { AdminPolicyRule, KubeObject } from '../../api/types.ts';
import { createDecider } from '../decide.ts';
import type { Direction } from '../decision.ts';
import { isNetworkPolicy, type PolicyObject } from '../objects.ts';
import { flowsIn, stagedWorlds, worlds } from '../testing/arbitraries.ts';
import { connectionWorlds } from '../testing/cilium-policies.ts';
import { type Flow, podKey, type World } from '../world.ts';
import type { Loss } from './loss.ts';
import { type Language, render } from './render.ts';

type Kind = (world: World) => World['policies'];
const networkPolicies: Kind = ({ policies }) => policies.filter(isNetworkPolicy);
const CLUSTER_WIDE = new Set(['AdminNetworkPolicy', 'BaselineAdminNetworkPolicy', 'ClusterNetworkPolicy']);
const clusterWide: Kind = ({ policies }) => policies.filter(({ kind }) => CLUSTER_WIDE.has(kind ?? ''));

/** Who is at the other end of the flow. */
function otherEnd(world: World, flow: Flow, direction: Direction): 'pod' | 'node' | 'outside' {
  const end = direction === 'egress' ? flow.dst : flow.src;
  const isAt = (addresses: readonly string[]) => 'address' in end && addresses.includes(end.address);
  const pod = world.pods.find((each) => ('pod' in end ? podKey(each) === end.pod : isAt(each.addresses)));
  if (pod) return pod.hostNetwork ? 'node' : 'pod';
  const isNode = world.nodes.some((node) => isAt([...node.addresses, ...(node.externalAddresses ?? [])]));
  return isNode ? 'node' : 'outside';
}

const isTold = (losses: readonly Loss[], direction: Direction, other: 'pod' | 'node' | 'outside'): boolean =>
  losses.some(
    ({ flows }) =>
      flows.directions.includes(direction) &&
      (flows.others === 'any' ||
        (flows.others === 'inside' && other !== 'outside') ||
        (flows.others === 'outside' && other !== 'pod')),
  );

const everything: Kind = ({ policies }) => policies;
const drawn = fc.oneof(worlds, stagedWorlds);

const cases: [what: string, kinds: Kind, to: Language, least: number, from?: fc.Arbitrary<World>][] = [
  ['Cilium’s policies as NetworkPolicy', everything, 'kubernetes', 0.05, connectionWorlds],
  ['Cilium’s policies as Calico’s', everything, 'calico', 0.05, connectionWorlds],
  ['NetworkPolicy as CiliumNetworkPolicy', networkPolicies, 'cilium', 0.5],
  ['NetworkPolicy as Calico’s NetworkPolicy', networkPolicies, 'calico', 1],
  ['NetworkPolicy as ClusterNetworkPolicy', networkPolicies, 'cluster', 0.3],
  ['NetworkPolicy as AdminNetworkPolicy', networkPolicies, 'admin', 0.3],
  ['AdminNetworkPolicy and BaselineAdminNetworkPolicy as ClusterNetworkPolicy', clusterWide, 'cluster', 0.5],
  ['ClusterNetworkPolicy as AdminNetworkPolicy', clusterWide, 'admin', 0.3],
];

for (const [what, kinds, to, least, from = drawn] of cases)
  test(`${what}: what is not told to be lost is decided as before`, () => {
    let [all, held] = [0, 0];
    fc.assert(
      fc.property(
        from.chain((one) => {
          const world = { ...one, policies: kinds(one) };
          return fc.tuple(fc.constant(world), fc.array(flowsIn(world), { minLength: 8, maxLength: 8 }));
        }),
        ([world, flows]) => {
          const { objects, kept, losses } = render(world, to);
          const before = createDecider(world);
          const after = createDecider({ ...world, policies: [...kept, ...objects] });
          for (const object of objects) assert.deepEqual(complaints(object as KubeObject), []);
          for (const flow of flows) {
            const [was, is] = [before(flow), after(flow)];
            for (const direction of ['egress', 'ingress'] as const) {
              all++;
              if (isTold(losses, direction, otherEnd(world, flow, direction))) continue;
              held++;
              const verdicts = (side: typeof was.egress) => [side.verdict, side.audit.verdict];
              assert.deepEqual(
                verdicts(is[direction]),
                verdicts(was[direction]),
                `${direction} ${JSON.stringify(flow)} ${JSON.stringify(objects)} ${JSON.stringify(losses)}`,
              );
            }
          }
        },
      ),
      { numRuns: 400 },
    );
    assert.ok(held >= all * least, `${held} of ${all} sides were compared`);
  });

test('a cluster-wide policy that lets some pass and denies the rest becomes NetworkPolicies that close', () => {
  const baseline = (rest: AdminPolicyRule['from']): PolicyObject => ({
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { name: 'default' },
    spec: {
      subject: { namespaces: { matchLabels: { 'kubernetes.io/metadata.name': 'shop' } } },
      ingress: [
        {
          action: 'Allow',
          from: [{ namespaces: { matchLabels: { team: 'web' } } }],
          ports: [{ portNumber: { port: 80 } }],
        },
        { action: 'Deny', from: rest },
      ],
    },
  });
  const pod = (namespace: string) => ({
    namespace,
    name: 'p',
    node: 'n',
    labels: {},
    addresses: [],
    ports: [],
  });
  const world: World = {
    pods: ['shop', 'web', 'other'].map(pod),
    namespaces: [{ name: 'web', labels: { team: 'web' } }],
    nodes: [],
    policies: [baseline([{ namespaces: {} }])],
  };
  const { objects, losses } = render(world, 'kubernetes');
  assert.deepEqual(
    objects.map(({ kind, metadata, spec }) => [kind, metadata.namespace, spec]),
    [
      [
        'NetworkPolicy',
        'shop',
        {
          podSelector: {},
          policyTypes: ['Ingress'],
          ingress: [
            {
              from: [{ namespaceSelector: { matchLabels: { team: 'web' } } }],
              ports: [{ protocol: 'TCP', port: 80 }],
            },
          ],
        },
      ],
    ],
  );
  assert.ok(losses.some(({ message }) => message.startsWith('is asked together with NetworkPolicies')));
  const [before, after] = [world, { ...world, policies: objects }].map(createDecider);
  for (const from of ['web', 'other'])
    for (const port of [80, 81]) {
      const flow: Flow = { src: { pod: `${from}/p` }, dst: { pod: 'shop/p' }, protocol: 'TCP', port };
      assert.equal(after!(flow).verdict, before!(flow).verdict, `${from} ${port}`);
    }
  const some = { ...world, policies: [baseline([{ namespaces: { matchLabels: { team: 'x' } } }])] };
  assert.deepEqual(render(some, 'kubernetes').objects, [], 'what denies some cannot be said');
});

/** What the API server would refuse. */
function complaints(object: KubeObject): unknown[] {
  const found = findKind(object.apiVersion, object.kind);
  assert.ok(found, object.kind);
  return [...unknownFields(found.kind, object), ...typeErrors(found.kind, object), ...found.validate(object)];
}

test('a baseline told as a ClusterNetworkPolicy may change order with others of the last priority, and says so', () => {
  const subject = { namespaces: {} };
  const baseline: PolicyObject = {
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { name: 'default' },
    spec: { subject, ingress: [{ action: 'Allow', from: [{ namespaces: {} }] }] },
  };
  const last = (priority: number): PolicyObject => ({
    apiVersion: 'policy.networking.k8s.io/v1alpha2',
    kind: 'ClusterNetworkPolicy',
    metadata: { name: 'later' },
    spec: {
      tier: 'Baseline',
      priority,
      subject,
      ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
    },
  });
  const flowsLost = (...policies: PolicyObject[]) =>
    render({ pods: [], namespaces: [], nodes: [], policies }, 'cluster').losses.map(({ flows }) => flows);
  assert.deepEqual(flowsLost(baseline, last(1000)), [{ directions: ['ingress', 'egress'], others: 'any' }]);
  assert.deepEqual(flowsLost(baseline, last(999)), [{ directions: [], others: 'any' }]);
});
