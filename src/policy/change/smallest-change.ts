/** The smallest edits of the policies that turn a flow's verdict, tried out: what else they would change is told. */
import { workloadOfPod } from '../analyse/identify.ts';
import type { Estate } from '../analyse/estate.ts';
import { createDecider, ends } from '../decide.ts';
import type { Decision, Direction } from '../decision.ts';
import { explain, type NearMiss } from '../explain.ts';
import { buildScene, resolveFlow } from '../scene.ts';
import type { Flow, World } from '../world.ts';
import { type Asked, blockOfEnd } from './asked.ts';
import { type Beyond, beyond } from './beyond.ts';
import { applyEdit, type Candidate, type Edit } from './edit.ts';
import { differenceAt } from './side-diff.ts';
import { adminCandidates } from './to-admin.ts';
import { calicoCandidates } from './to-calico.ts';
import { ciliumCandidates } from './to-cilium.ts';
import { meshCandidates } from './to-mesh.ts';
import { networkPolicyCandidates } from './to-network-policy.ts';
import { type NoChange, unreadIn } from './why-not.ts';

export interface SmallestChange extends Beyond {
  /** Made one after the other. */
  readonly edits: readonly Edit[];
  /** What the flow's verdict becomes. */
  readonly turned: 'allow' | 'deny';
  /** Of a flow with a request: whether what is added speaks of that request, or of every request on the connection. */
  readonly requests?: 'this' | 'all' | undefined;
  readonly world: World;
}

export type Answer =
  | { readonly change: SmallestChange }
  | { readonly change: undefined; readonly none: NoChange };

/** Both ends, and the mesh with its mutual TLS first; a rule that denies may stand behind another. */
const MOST_EDITS = 8;

/**
 * Of a denied flow, edits for each end that denies; of an allowed connection, one edit. Workloads that no label tells
 * apart are turned together, and told.
 * @throws HeddleError as `explain`
 */
export function smallestChange(estate: Estate, flow: Flow): Answer {
  const { decision } = explain(estate.world, flow);
  const taken =
    decision.verdict === 'allow' ? denyingEdit(estate, flow, decision) : allowingEdits(estate, flow);
  if ('why' in taken) return { change: undefined, none: taken };
  const { world, list } = taken;
  const edits = list.map(({ edit }) => edit);
  const asked = askedIn(estate, estate.world, flow);
  return {
    change: {
      edits,
      turned: decision.verdict === 'allow' ? 'deny' : 'allow',
      ...(flow.request ? { requests: list.some(({ whole }) => whole) ? 'all' : 'this' } : {}),
      ...beyond(estate, world, edits, flow, asked.flow),
      world,
    },
  };
}

interface Taken {
  readonly list: readonly Candidate[];
  readonly world: World;
}

function askedIn(estate: Estate, world: World, flow: Flow): Asked {
  const scene = buildScene(world);
  return { estate: { ...estate, world }, scene, flow: resolveFlow(scene, flow) };
}

type Point = Direction | 'mesh';

const denyingPoint = ({ egress, ingress, mesh }: Decision): Point | undefined => {
  if (egress.verdict === 'deny') return 'egress';
  if (ingress.verdict === 'deny') return 'ingress';
  return mesh?.verdict === 'deny' ? 'mesh' : undefined;
};

function allowingEdits(estate: Estate, flow: Flow): Taken | NoChange {
  const list: Candidate[] = [];
  let { world } = estate;
  for (;;) {
    const { decision, nearMisses } = explain(world, flow);
    const point = denyingPoint(decision);
    if (!point) return { list, world };
    const asked = askedIn(estate, world, flow);
    const unread = unreadIn(asked, decision[point]!);
    if (unread) return unread;
    const best = list.length < MOST_EDITS ? bestAt(asked, flow, point, decision, nearMisses) : undefined;
    if (!best) return whyNot(asked, point, decision);
    list.push(best);
    world = applyEdit(world, best.edit);
  }
}

function bestAt(
  asked: Asked,
  flow: Flow,
  point: Point,
  decision: Decision,
  nearMisses: Readonly<Record<Direction, readonly NearMiss[]>>,
): Candidate | undefined {
  const turns = ({ edit }: Candidate): boolean => {
    const world = applyEdit(asked.estate.world, edit);
    return world !== asked.estate.world && isFurther(createDecider(world)(flow), decision, point);
  };
  if (point === 'mesh') return meshCandidates(asked, decision.mesh!).find(turns);
  const [side, near] = [decision[point], nearMisses[point]];
  const plain = networkPolicyCandidates(asked, point, side, near);
  // Where none of its language closes, one is better than nothing.
  const isOfItsLanguage = side.isolatedBy.some(({ kind }) => kind === 'NetworkPolicy');
  const found = [
    ...(isOfItsLanguage ? plain : []),
    ...ciliumCandidates(asked, point, side, near),
    ...calicoCandidates(asked, point, side),
    ...(isOfItsLanguage ? [] : plain),
    ...adminCandidates(asked, point, side),
  ].filter(turns);
  const exact = found.filter(({ whole }) => !whole);
  return least(asked, point, exact.length > 0 ? exact : found, isFine(flow) ? flow : undefined);
}

/** The point allows; or, of the mesh, another thing of it denies than before. */
function isFurther(now: Decision, before: Decision, point: Point): boolean {
  if (now[point]?.verdict === 'allow') return true;
  if (point !== 'mesh') return false;
  const [is, was] = [now.mesh!, before.mesh!];
  return was.reason === 'tls'
    ? is.reason !== 'tls'
    : was.reason === 'rule' && is.ruleNumber !== was.ruleNumber;
}

function denyingEdit(estate: Estate, flow: Flow, decision: Decision): Taken | NoChange {
  const asked = askedIn(estate, estate.world, flow);
  if (flow.request)
    return { why: 'allowed', message: 'it is allowed; what would deny one request is not looked for' };
  for (const direction of ['ingress', 'egress'] as const) {
    const denying = adminCandidates(asked, direction, decision[direction]).filter(
      ({ edit }) => createDecider(applyEdit(estate.world, edit))(flow).verdict === 'deny',
    );
    const best = least(asked, direction, denying);
    if (best) return { list: [best], world: applyEdit(estate.world, best.edit) };
  }
  return { why: 'allowed', message: 'it is allowed, and no rule that could be added denies it' };
}

/**
 * The first that changes nothing else, else the one that changes least.
 * @param fine the flow, if connections do not tell it: then it is its other ends that count
 */
function least(
  asked: Asked,
  direction: Direction,
  found: readonly Candidate[],
  fine?: Flow,
): Candidate | undefined {
  const { estate, flow } = asked;
  const family = (flow.src.address ?? flow.dst.address)?.family ?? 4;
  let best: { candidate: Candidate; count: number } | undefined;
  for (const candidate of found) {
    const { edit } = candidate;
    const world = applyEdit(estate.world, edit);
    const count = fine
      ? sizeOf(beyond(estate, world, [edit], fine, flow)) + 1
      : differenceAt(estate, world.policies, direction, edit.policy, family);
    if (count === 1) return candidate;
    if (count < (best?.count ?? Infinity)) best = { candidate, count };
  }
  return best?.candidate;
}

function whyNot(asked: Asked, point: Point, decision: Decision): NoChange {
  const { flow, estate } = asked;
  if (point === 'mesh' && decision.mesh?.reason === 'custom')
    return {
      why: 'authorizer',
      message: 'an authorizer outside the cluster denies it, or there are several of which none is asked',
    };
  const there = point === 'mesh' ? flow.src : ends(flow, point).there;
  const isNamed = there.type === 'pod' ? workloadOfPod(estate, there.pod) : blockOfEnd(there);
  const isKnown = point === 'mesh' ? blockOfEnd(there) !== undefined : isNamed !== undefined;
  if (!isKnown && decision.mesh?.reason !== 'tls')
    return {
      why: 'nameless',
      message:
        point === 'mesh'
          ? 'no rule can name the sender: it has no certificate, and its address is not known'
          : 'no rule can name the other end: its address is not known',
    };
  return {
    why: 'none-found',
    message: 'no rule that could be added allows it: change what denies it instead',
  };
}

const sizeOf = ({ also, between }: Beyond): number => also.length + between.length;

/** A request, or what has no ports. */
const isFine = ({ request, port }: Flow): boolean => request !== undefined || port === undefined;
