/** Of every language: what is suggested turns the flow, and of all other flows only those that it tells of. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createEstate, workloadKey } from '../analyse/estate.ts';
import type { Party } from '../analyse/connectivity.ts';
import { createDecider } from '../decide.ts';
import { httpOf } from '../request.ts';
import { buildScene, type End, resolveFlow } from '../scene.ts';
import { worlds } from '../testing/arbitraries.ts';
import { calicoFlows, calicoWorlds } from '../testing/calico-policies.ts';
import { requestsIn, requestWorlds } from '../testing/cilium-policies.ts';
import { meshFlowsIn, withMesh } from '../testing/mesh-arbitraries.ts';
import { type Flow, podKey, type World } from '../world.ts';
import { applyEdit } from './edit.ts';
import { type SmallestChange, smallestChange } from './smallest-change.ts';

interface Draw {
  readonly world: World;
  readonly flow: Flow;
  readonly others: readonly Flow[];
}

const drawsOf = (
  all: fc.Arbitrary<World>,
  flowsOf: (world: World) => fc.Arbitrary<Flow>,
): fc.Arbitrary<Draw> =>
  all.chain((world) =>
    fc.record({
      world: fc.constant(world),
      flow: flowsOf(world),
      others: fc.array(flowsOf(world), { minLength: 12, maxLength: 12 }),
    }),
  );

for (const { language, draws, kinds } of [
  {
    language: "Cilium's",
    draws: drawsOf(requestWorlds, requestsIn),
    kinds: ['CiliumNetworkPolicy'],
  },
  {
    language: "Calico's",
    draws: drawsOf(calicoWorlds({ fine: false, requests: true }), calicoFlows),
    kinds: ['NetworkPolicy.projectcalico.org'],
  },
  {
    language: "the mesh's",
    draws: drawsOf(withMesh(worlds), meshFlowsIn),
    kinds: ['AuthorizationPolicy', 'PeerAuthentication'],
  },
])
  test(`a change of ${language} policies turns the flow, and nothing that it does not tell`, () => {
    const found = new Map<string, number>();
    fc.assert(
      fc.property(draws, ({ world, flow, others }) => {
        const estate = createEstate(world, () => undefined);
        const { change } = smallestChange(estate, flow);
        if (!change) return;
        for (const { policy } of change.edits) found.set(policy.kind, (found.get(policy.kind) ?? 0) + 1);
        assert.deepEqual(change.edits.reduce(applyEdit, world), change.world);
        const [before, after] = [createDecider(world), createDecider(change.world)];
        assert.notEqual(before(flow).verdict, change.turned);
        assert.equal(after(flow).verdict, change.turned);
        const near = others.map(
          (other): Flow => ({ ...flow, src: other.src, dst: other.dst, peer: undefined }),
        );
        for (const other of [...others, ...near])
          if (verdict(before, other) !== verdict(after, other))
            assert.ok(isTold(world, flow, change, other), `${JSON.stringify(other)} ${words(change)}`);
      }),
      { numRuns: 400 },
    );
    for (const kind of kinds) assert.ok((found.get(kind) ?? 0) > 3, `${kind}: ${found.get(kind)}`);
  });

const words = ({ edits, also, between, requests }: SmallestChange): string =>
  JSON.stringify({
    edits,
    requests,
    also: [...also, ...between].map(({ src, dst }) => [partyText(src), partyText(dst)]),
  });

/** Undefined: it has no ends of one family. */
function verdict(decide: (flow: Flow) => { verdict: string }, flow: Flow): string | undefined {
  try {
    return decide(flow).verdict;
  } catch {
    return undefined;
  }
}

const partyText = (party: Party): string => ('kind' in party ? workloadKey(party) : party.from);

const endText = (end: End): string => {
  if (end.type === 'pod') return workloadKey({ ...end.pod, kind: 'Pod' });
  return end.type === 'node' ? `node ${end.node}` : 'outside';
};

/** Whether it is of the flow's own ends, on its own port and of its own request; or between others that are told. */
function isTold(world: World, flow: Flow, change: SmallestChange, other: Flow): boolean {
  const scene = buildScene(world);
  const [own, its] = [resolveFlow(scene, flow), resolveFlow(scene, other)];
  const family = (each: typeof own) => (each.src.address ?? each.dst.address)?.family;
  // Nodes are no workloads, and analysis is of one family, and of protocols with ports.
  if (its.src.type === 'node' || its.dst.type === 'node' || family(own) !== family(its)) return true;
  if (its.port === undefined || its.port === 0) return true;
  const isPair = endText(own.src) === endText(its.src) && endText(own.dst) === endText(its.dst);
  const told = [...change.also, ...change.between].some(
    ({ src, dst }) => matches(src, its.src, endText(its.src)) && matches(dst, its.dst, endText(its.dst)),
  );
  if (told) return true;
  if (!isPair || own.protocol !== its.protocol || own.port !== its.port) return false;
  return change.requests !== 'this' || sameRequest(flow, other);
}

function matches(party: Party, end: End, text: string): boolean {
  if ('kind' in party) return workloadKey(party) === text || isHost(end, party);
  return end.type !== 'pod';
}

/** Pods on the host network are workloads, and their node to whoever meets them. */
const isHost = (end: End, party: Party): boolean =>
  end.type === 'node' && 'kind' in party && party.pods.some((pod) => pod.hostNetwork && podKey(pod) !== '');

/** As far as rules tell requests apart: an unknown one may be any of them. */
function sameRequest({ request: a }: Flow, { request: b }: Flow): boolean {
  if (!a || !b) return true;
  const [one, two] = [httpOf(a), httpOf(b)];
  if (!one || !two) return a.type === b.type;
  return one.method === two.method && one.path.split('?')[0] === two.path.split('?')[0];
}
