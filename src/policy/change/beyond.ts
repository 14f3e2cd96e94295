/** What edits turn beside the flow that they are for. */
import { type Change, diff } from '../analyse/diff.ts';
import type { ExternalRange, Party } from '../analyse/connectivity.ts';
import { type Estate, type Workload, workloadKey } from '../analyse/estate.ts';
import { workloadOfPod } from '../analyse/identify.ts';
import { createPortSets, PROTOCOLS, type PortSet, type PortSets } from '../analyse/port-set.ts';
import { createIndexedDecider } from '../indexed/decider.ts';
import { formatAddress, parseAddress } from '../../lib/ip.ts';
import { isInScope } from '../mesh/model.ts';
import { selectsPod } from '../peers.ts';
import { buildScene, type End, type ResolvedFlow, type Scene, whoIs } from '../scene.ts';
import { type Flow, type FlowEnd, podKey, type World, type WorldPod } from '../world.ts';
import type { Edit } from './edit.ts';

export interface Beyond {
  /** Connections of other pairs, or on other ports, that pass only before or only after. */
  readonly also: readonly Change[];
  /** Of a flow that connections do not tell (a request, ICMP, a port of the sender): other ends that it turns between. */
  readonly between: readonly Between[];
}

export interface Between {
  readonly src: Party;
  readonly dst: Party;
}

export function beyond(
  estate: Estate,
  world: World,
  edits: readonly Edit[],
  asked: Flow,
  flow: ResolvedFlow,
): Beyond {
  const sets = createPortSets();
  const wanted = portsOf(sets, asked);
  const scene = buildScene(estate.world);
  const isOwn = ({ src, dst, before, after }: Change): boolean =>
    isParty(estate, src, flow.src) &&
    isParty(estate, dst, flow.dst) &&
    sets.or(sets.minus(after, before), sets.minus(before, after)) === wanted;
  const family = (flow.src.address ?? flow.dst.address)?.family ?? 4;
  const also = [...diff(estate, { ...estate, world }, { sets, family })].filter(
    (each) => !isOwn(each) && !isInside(scene, each.src) && !isInside(scene, each.dst),
  );
  const isFine = asked.request ?? asked.icmp ?? asked.sourcePort ?? asked.protocolNumber;
  if (isFine === undefined && asked.port !== undefined) return { also, between: [] };
  const known = new Set(also.map(pairKey));
  const between = turnedBetween(estate, world, edits, asked, flow);
  return { also, between: between.filter((each) => !known.has(pairKey(each))) };
}

/** A pod's address is nobody outside. */
function isInside(scene: Scene, party: Party): boolean {
  if ('kind' in party || party.from !== party.to) return false;
  return whoIs(scene, parseAddress(party.from)).type === 'pod';
}

function portsOf(sets: PortSets, { protocol, port }: Flow): PortSet {
  const index = PROTOCOLS.findIndex((each) => each === protocol);
  if (port === undefined || index < 0) return sets.none;
  return sets.of(PROTOCOLS.map((_, i) => (i === index ? [[port, port]] : [])));
}

const pairKey = ({ src, dst }: Between): string => `${partyKey(src)} > ${partyKey(dst)}`;

const partyKey = (party: Party): string => ('kind' in party ? workloadKey(party) : party.from);

function isParty(estate: Estate, party: Party, end: End): boolean {
  if (!('kind' in party)) return end.type !== 'pod' && party.from === party.to;
  const workload = end.type === 'pod' ? workloadOfPod(estate, end.pod) : undefined;
  return workload !== undefined && workloadKey(workload) === workloadKey(party);
}

/** Only where an edited object selects one of the ends. */
function turnedBetween(
  estate: Estate,
  world: World,
  edits: readonly Edit[],
  asked: Flow,
  flow: ResolvedFlow,
): Between[] {
  const [before, after] = [createIndexedDecider()(estate.world), createIndexedDecider()(world)];
  const isEdited = selectedBy(world, edits);
  const all = kindsOf(estate);
  const ofEnd = (end: End, said: FlowEnd): Kind => ({
    end: said,
    party: partyOf(estate, end),
    pod: podOf(end),
  });
  const [src, dst] = [ofEnd(flow.src, asked.src), ofEnd(flow.dst, asked.dst)];
  const found = new Map<string, Between>();
  for (const from of [...all, src])
    for (const to of [...all, dst]) {
      if (!from.party || !to.party || from.party === to.party) continue;
      if (!('kind' in from.party) && !('kind' in to.party)) continue;
      if (!isEdited(from.pod, 'egress') && !isEdited(to.pod, 'ingress')) continue;
      if (isParty(estate, from.party, flow.src) && isParty(estate, to.party, flow.dst)) continue;
      const each = { ...asked, src: from.end, dst: to.end, peer: from === src ? asked.peer : undefined };
      const [was, is] = [verdictOf(before, each), verdictOf(after, each)];
      const pair = { src: from.party, dst: to.party };
      if (was !== is && is) found.set(pairKey(pair), pair);
    }
  return [...found.values()];
}

/** Undefined where the two have no address family in common. */
function verdictOf(decide: ReturnType<ReturnType<typeof createIndexedDecider>>, flow: Flow) {
  try {
    return decide(flow).verdict;
  } catch {
    return undefined;
  }
}

interface Kind {
  readonly end: FlowEnd;
  readonly party: Party | undefined;
  readonly pod: WorldPod | undefined;
}

/** Of pods of a workload that what we write cannot tell apart, one: it names labels, accounts and namespaces. */
function kindsOf({ workloads }: Estate): Kind[] {
  return workloads.flatMap((workload: Workload) => {
    const kinds = new Map(
      workload.pods.map((pod) => [
        JSON.stringify([pod.labels, pod.serviceAccount, pod.hostNetwork ?? false, pod.node, pod.ports]),
        pod,
      ]),
    );
    return [...kinds.values()].map((pod) => ({ end: { pod: podKey(pod) }, party: workload, pod }));
  });
}

const podOf = (end: End): WorldPod | undefined => (end.type === 'pod' ? end.pod : undefined);

function partyOf(estate: Estate, end: End): Party | undefined {
  if (end.type === 'pod') return workloadOfPod(estate, end.pod);
  const text = end.address && formatAddress(end.address);
  return text === undefined ? undefined : ({ from: text, to: text } satisfies ExternalRange);
}

function selectedBy(world: World, edits: readonly Edit[]) {
  const scene = buildScene(world);
  const isOf = (ref: Edit['policy']) =>
    edits.some(
      ({ policy }) =>
        policy.kind === ref.kind && policy.namespace === ref.namespace && policy.name === ref.name,
    );
  const policies = scene.policies.filter(({ ref }) => isOf(ref));
  const mesh = [...(scene.mesh?.authorizations ?? []), ...(scene.mesh?.peers ?? [])].filter(({ ref }) =>
    isOf(ref),
  );
  return (pod: WorldPod | undefined, direction: 'ingress' | 'egress'): boolean => {
    if (!pod) return false;
    if (policies.some((policy) => policy.concerns[direction] && selectsPod(scene, policy.subject, pod)))
      return true;
    return direction === 'ingress' && mesh.some(({ scope }) => isInScope(scope, pod));
  };
}
