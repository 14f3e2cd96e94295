/** The smallest edit of the policies that lets a denied flow pass, tried out: what else it would open is told. */
import type { NetworkPolicy } from '../../api/types.ts';
import { clone } from '../../lib/json.ts';
import { createDecider, ends } from '../decide.ts';
import type { Direction, PolicyRef } from '../decision.ts';
import { explain } from '../explain.ts';
import { namespaceOf, objectKey, type PolicyObject } from '../objects.ts';
import { buildScene, type End, type ResolvedFlow, resolveFlow } from '../scene.ts';
import type { Flow, World } from '../world.ts';
import { type Change, diff } from './diff.ts';
import { type Estate, workloadKey } from './estate.ts';
import { endPeer, labelsOf, type PeerInput, selectorOfLabels, workloadOfPod } from './identify.ts';
import { createPortSets, PROTOCOLS } from './port-set.ts';
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
  /** The flow's own connection apart; empty if the change allows the flow and nothing else. */
  readonly also: readonly Change[];
  readonly world: World;
}

interface Candidate {
  readonly edit: Edit;
  readonly policies: readonly PolicyObject[];
}

/**
 * Undefined if the flow is allowed, or if no edit of a NetworkPolicy allows it. One edit for each end that denies.
 * Workloads that no label tells apart are opened together, and told.
 * @throws HeddleError as `explain`
 */
export function smallestChange(estate: Estate, flow: Flow): SmallestChange | undefined {
  const { decision, nearMisses } = explain(estate.world, flow);
  if (decision.verdict === 'allow') return undefined;
  const resolved = resolveFlow(buildScene(estate.world), flow);
  const edits: Edit[] = [];
  let { world } = estate;
  for (const direction of ['egress', 'ingress'] as const) {
    const side = decision[direction];
    if (side.verdict === 'allow') continue;
    if (side.reason !== 'default-deny') return undefined;
    const now = { ...estate, world };
    const found = candidates(now, resolved, direction, side.isolatedBy, nearMisses[direction]);
    const best = least(now, direction, found, resolved);
    if (!best) return undefined;
    edits.push(best.edit);
    world = { ...world, policies: best.policies };
  }
  if (createDecider(world)(flow).verdict !== 'allow') return undefined;
  return { edits, also: beyond(estate, world, resolved, flow), world };
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
  if (made) {
    const ref = { kind: 'NetworkPolicy', namespace: made.metadata.namespace ?? '', name: made.metadata.name };
    list.push({ edit: { policy: ref, path: '', value: made }, policies: [...estate.world.policies, made] });
  }
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
      each.kind === ref.kind && namespaceOf(each) === ref.namespace && each.metadata.name === ref.name,
  );
  const old = world.policies[place];
  if (!old || old.kind !== 'NetworkPolicy') return undefined;
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

/** What the change opens beside the flow. Only the ends of the flow and what an edited policy selects can differ. */
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
    sets.minus(after, before) === wanted;
  const changes = diff(estate, { ...estate, world }, { sets, family: familyOf(resolved) });
  return [...changes].filter((change) => !isOwn(change));
}

function isParty(party: Change['src'], end: End, key: string): boolean {
  if ('kind' in party) return workloadKey(party) === key;
  return end.type !== 'pod' && party.from === party.to;
}
