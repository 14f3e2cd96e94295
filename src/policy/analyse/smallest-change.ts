/** The smallest edit of the policies that turns a flow's verdict, tried out: what else it would change is told. */
import type { NetworkPolicy } from '../../api/types.ts';
import { clone } from '../../lib/json.ts';
import { createDecider, ends } from '../decide.ts';
import type { Direction, PolicyRef } from '../decision.ts';
import { explain } from '../explain.ts';
import { isNetworkPolicy, kindOf, namespaceOf, objectKey, type PolicyObject } from '../objects.ts';
import { buildScene, type End, type ResolvedFlow, resolveFlow } from '../scene.ts';
import type { Flow, World } from '../world.ts';
import { type Change, diff } from './diff.ts';
import { type Estate, workloadKey } from './estate.ts';
import { endPeer, labelsOf, type PeerInput, selectorOfLabels, workloadOfPod } from './identify.ts';
import { createPortSets, PROTOCOLS } from './port-set.ts';
import { adminPolicies } from './admin-change.ts';
import { differenceAt } from './side-diff.ts';

export interface Edit {
  readonly policy: PolicyRef;
  /** `spec.ingress[0].ports`: the list that `value` is added to; empty where the policy is new. */
  readonly path: string;
  /** The item added, or the new object. */
  readonly value: unknown;
}

export interface SmallestChange {
  readonly edits: readonly Edit[];
  /** What the flow's verdict becomes. */
  readonly turned: 'allow' | 'deny';
  /** The flow's own connection apart; empty if the change allows the flow and nothing else. */
  readonly also: readonly Change[];
  readonly world: World;
}

interface Candidate {
  readonly edit: Edit;
  readonly policies: readonly PolicyObject[];
}

/**
 * Of a denied flow, one edit for each end that denies; of an allowed one, one edit. Undefined if no edit turns the
 * verdict. Workloads that no label tells apart are turned together, and told.
 * @throws HeddleError as `explain`
 */
export function smallestChange(estate: Estate, flow: Flow): SmallestChange | undefined {
  const { decision, nearMisses } = explain(estate.world, flow);
  const scene = buildScene(estate.world);
  const resolved = resolveFlow(scene, flow);
  const turned = decision.verdict === 'allow' ? 'deny' : 'allow';
  const admin = (now: Estate, direction: Direction): Candidate[] =>
    adminPolicies(now, scene, resolved, direction, decision[direction]).map((made) => added(now, made));
  const edits: Edit[] = [];
  let { world } = estate;
  const take = (candidate: Candidate): void => {
    edits.push(candidate.edit);
    world = { ...world, policies: candidate.policies };
  };
  const judges = (policies: Candidate['policies']) => createDecider({ ...world, policies })(flow);
  if (turned === 'allow') {
    for (const direction of ['egress', 'ingress'] as const) {
      const side = decision[direction];
      if (side.verdict === 'allow') continue;
      const now = { ...estate, world };
      const found = [
        ...(side.reason === 'default-deny'
          ? candidates(now, resolved, direction, side.isolatedBy, nearMisses[direction])
          : []),
        ...admin(now, direction),
      ].filter(({ policies }) => judges(policies)[direction].verdict === 'allow');
      const best = least(now, direction, found, resolved);
      if (!best) return undefined;
      take(best);
    }
  } else {
    const found = (['ingress', 'egress'] as const).flatMap((direction) => {
      const denying = admin(estate, direction).filter(({ policies }) => judges(policies).verdict === 'deny');
      return least(estate, direction, denying, resolved) ?? [];
    });
    if (found[0]) take(found[0]);
  }
  if (edits.length === 0) return undefined;
  return { edits, turned, also: beyond(estate, world, resolved, flow), world };
}

function added({ world }: Estate, made: PolicyObject): Candidate {
  const policy = { kind: kindOf(made), namespace: namespaceOf(made), name: made.metadata.name };
  return { edit: { policy, path: '', value: made }, policies: [...world.policies, made] };
}

/** The first that changes nothing else, else the one that changes least. */
function least(
  estate: Estate,
  direction: Direction,
  found: readonly Candidate[],
  flow: ResolvedFlow,
): Candidate | undefined {
  let best: { candidate: Candidate; count: number } | undefined;
  for (const candidate of found) {
    const count = differenceAt(estate, candidate.policies, direction, candidate.edit.policy, familyOf(flow));
    if (count === 1) return candidate;
    if (count > 1 && count < (best?.count ?? Infinity)) best = { candidate, count };
  }
  return best?.candidate;
}

function candidates(
  estate: Estate,
  flow: ResolvedFlow,
  direction: Direction,
  isolatedBy: readonly PolicyRef[],
  near: ReturnType<typeof explain>['nearMisses'][Direction],
): Candidate[] {
  const { here, there } = ends(flow, direction);
  if (here.type !== 'pod') return [];
  const port = portInput(flow);
  const peerIn = (namespace: string) => endPeer(estate, there, namespace);
  const list: Candidate[] = [];
  const add = (ref: PolicyRef, path: string, value: unknown, change: (policy: NetworkPolicy) => void) => {
    const policies = edited(estate.world, ref, change);
    if (policies && value !== undefined) list.push({ edit: { policy: ref, path, value }, policies });
  };
  const peers = direction === 'ingress' ? 'from' : 'to';
  for (const { rule, missed } of near) {
    if (missed === 'port' && port)
      add(rule, `${rule.path}.ports`, port, (p) => rulesIn(p, direction)[rule.index]!.ports!.push(port));
    const peer = peerIn(rule.namespace);
    if (missed === 'peer' && peer)
      add(rule, `${rule.path}.${peers}`, peer, (p) => rulesIn(p, direction)[rule.index]![peers]!.push(peer));
  }
  for (const ref of isolatedBy) {
    const rule = ruleInput(peerIn(ref.namespace), port, peers);
    if (rule) add(ref, `spec.${direction}`, rule, (p) => rulesIn(p, direction).push(rule));
  }
  const rule = ruleInput(peerIn(here.pod.namespace), port, peers);
  const made = rule && newPolicy(estate, here, direction, rule, flow);
  if (made) list.push(added(estate, made));
  return list;
}

interface RuleInput {
  from?: PeerInput[];
  to?: PeerInput[];
  ports?: { protocol: string; port: number }[];
}

function ruleInput(
  peer: PeerInput | undefined,
  port: ReturnType<typeof portInput>,
  peers: 'from' | 'to',
): RuleInput | undefined {
  return peer && { [peers]: [peer], ...(port ? { ports: [port] } : {}) };
}

/** Undefined for ICMP: only a rule for every port allows it. */
const portInput = ({ protocol, port }: ResolvedFlow) => (port === undefined ? undefined : { protocol, port });

function rulesIn(policy: NetworkPolicy, direction: Direction): RuleInput[] {
  const spec = (policy.spec ??= { podSelector: {} }) as Record<Direction, RuleInput[] | undefined>;
  return (spec[direction] ??= []);
}

function edited(
  world: World,
  ref: PolicyRef,
  change: (policy: NetworkPolicy) => void,
): PolicyObject[] | undefined {
  const place = world.policies.findLastIndex(
    (each) =>
      kindOf(each) === ref.kind && namespaceOf(each) === ref.namespace && each.metadata.name === ref.name,
  );
  const old = world.policies[place];
  if (!old || !isNetworkPolicy(old)) return undefined;
  const fresh = clone(old);
  change(fresh);
  return world.policies.with(place, fresh);
}

function newPolicy(
  estate: Estate,
  here: End & { type: 'pod' },
  direction: Direction,
  rule: RuleInput,
  { protocol, port }: ResolvedFlow,
): NetworkPolicy | undefined {
  const workload = workloadOfPod(estate, here.pod);
  if (!workload) return undefined;
  const { namespace } = workload;
  const what = port === undefined ? protocol.toLowerCase() : `${protocol.toLowerCase()}-${port}`;
  const base = `${workload.name}-${direction}-${what}`;
  const taken = new Set(estate.world.policies.map(objectKey));
  let name = base;
  for (let i = 2; taken.has(`NetworkPolicy ${namespace}/${name}`); i++) name = `${base}-${i}`;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace, name },
    spec: {
      podSelector: selectorOfLabels(labelsOf(estate, workload)) as never,
      policyTypes: [direction === 'ingress' ? 'Ingress' : 'Egress'],
      [direction]: [rule],
    },
  };
}

const familyOf = ({ src, dst }: ResolvedFlow): 4 | 6 => (src.address ?? dst.address)?.family ?? 4;

/** What the change turns beside the flow. Only the ends of the flow and what an edited policy selects can differ. */
function beyond(estate: Estate, world: World, resolved: ResolvedFlow, { protocol, port }: Flow): Change[] {
  const sets = createPortSets();
  const index = PROTOCOLS.findIndex((each) => each === protocol);
  const wanted =
    port === undefined || index < 0
      ? sets.none
      : sets.of(PROTOCOLS.map((_, i) => (i === index ? [[port, port]] : [])));
  const keyOf = (end: End): string => {
    const workload = end.type === 'pod' ? workloadOfPod(estate, end.pod) : undefined;
    return workload ? workloadKey(workload) : '';
  };
  const isOwn = ({ src, dst, before, after }: Change): boolean =>
    isParty(src, resolved.src, keyOf(resolved.src)) &&
    isParty(dst, resolved.dst, keyOf(resolved.dst)) &&
    sets.or(sets.minus(after, before), sets.minus(before, after)) === wanted;
  const changes = diff(estate, { ...estate, world }, { sets, family: familyOf(resolved) });
  return [...changes].filter((change) => !isOwn(change));
}

function isParty(party: Change['src'], end: End, key: string): boolean {
  if ('kind' in party) return workloadKey(party) === key;
  return end.type !== 'pod' && party.from === party.to;
}
