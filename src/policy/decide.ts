/**
 * The decision, read straight from the objects: no table, no index over rules. `compile` is held to it by test.
 */
import { contains, formatAddress } from '../lib/ip.ts';
import { type Decision, type Direction, decisionOf, type Outcome, type Side } from './decision.ts';
import { isEnforced, type Isolation, isolationOf } from './isolation.ts';
import { type Judgement, judge } from './judge.ts';
import { compareRules, type IcmpMatch, type Policy, type PortMatch, type Rule } from './model.ts';
import { decideMesh } from './mesh/decide.ts';
import { type Numbering, numberRules } from './numbering.ts';
import { type Entity, holdsPeer, type LeafPeer, type Peer, rangesOf, selectsPod } from './peers.ts';
import { groupPods } from './roles.ts';
import { buildScene, type End, type Places, type ResolvedFlow, resolveFlow, type Scene } from './scene.ts';
import { type Flow, podKey, type World, type WorldPod } from './world.ts';

/** For many flows in one world use `createDecider`. @throws HeddleError `UnknownPod`, `BadAddress`, `BadFlow` */
export function decide(world: World, flow: Flow): Decision {
  return createDecider(world)(flow);
}

export function createDecider(world: World): (flow: Flow) => Decision {
  const scene = buildScene(world);
  const numbering = numberRules(scene, groupPods(scene));
  return (flow) => decideResolved(scene, numbering, resolveFlow(scene, flow));
}

export function decideResolved(scene: Scene, numbering: Numbering, flow: ResolvedFlow): Decision {
  return decisionOf(
    decideSide(scene, numbering, flow, 'egress'),
    decideSide(scene, numbering, flow, 'ingress'),
    scene.mesh && decideMesh(scene.mesh, flow, isLocalAddress(scene, flow.src)),
  );
}

/** The pod at which `direction` is enforced, and who is at the other end. */
export function ends(flow: ResolvedFlow, direction: Direction): { here: End; there: End } {
  return direction === 'egress' ? { here: flow.src, there: flow.dst } : { here: flow.dst, there: flow.src };
}

const ALLOWED = { verdict: 'allow', ruleNumber: 0 } as const;

function decideSide(scene: Scene, numbering: Numbering, flow: ResolvedFlow, direction: Direction): Side {
  const { here, there } = ends(flow, direction);
  if (here.type !== 'pod')
    return { ...ALLOWED, reason: 'not-a-pod', isolated: false, isolatedBy: [], audit: ALLOWED };
  const policies = concerning(scene, here.pod, direction);
  const { enforced, audited } = isolationOf(policies, direction);
  const isolation = { isolated: enforced.policies.length > 0, isolatedBy: enforced.policies };
  const allowed = { ...ALLOWED, ...isolation, audit: ALLOWED };
  if (there.type === 'pod' && podKey(there.pod) === podKey(here.pod)) return { ...allowed, reason: 'self' };
  if (isOwnNode(scene, here.pod, there)) return { ...allowed, reason: 'own-node' };
  if (policies.length === 0) return { ...allowed, reason: 'not-isolated' };

  const judged = (who: readonly Policy[], { tiers }: Isolation) =>
    judge(matching(scene, rulesOf(who, direction), flow, there), tiers, flow.request);
  const judgement = judged(policies.filter(isEnforced), enforced);
  const isAudited = !policies.every(isEnforced);
  const audit = isAudited ? judged(policies, audited) : judgement;
  return sideOf(judgement, audit, isolation, (each) => numberOf(numbering, direction, each));
}

/** The sides of a decision as everybody says them: no property is there without a value. */
export function sideOf(
  judgement: Judgement,
  audit: Judgement,
  isolation: Pick<Side, 'isolated' | 'isolatedBy'>,
  number: (judgement: Judgement) => number,
): Side {
  const { logged, ...decided } = judgement;
  const outcome = ({ verdict, rule }: Judgement, ruleNumber: number): Outcome => ({
    verdict,
    ...(rule ? { rule } : {}),
    ruleNumber,
  });
  return {
    ...decided,
    ...isolation,
    ruleNumber: number(judgement),
    ...(logged.length > 0 ? { logged } : {}),
    audit: outcome(audit, number(audit)),
  };
}

function numberOf(numbering: Numbering, direction: Direction, { rule, closedBy }: Judgement): number {
  return rule ? numbering.rule(rule) : numbering.defaultDeny(direction, closedBy ?? []);
}

const matching = (scene: Scene, rules: readonly Rule[], flow: ResolvedFlow, there: End): Rule[] =>
  rules.filter((rule) => peersMatch(scene, rule, there) && portsMatch(rule, flow)).sort(compareRules);

/** Policies that say anything of a pod in this direction, in the order of the scene. */
export function concerning(scene: Scene, pod: WorldPod, direction: Direction): Policy[] {
  return scene.policies.filter((p) => p.concerns[direction] && selectsPod(scene, p.subject, pod));
}

export function rulesOf(policies: readonly Policy[], direction: Direction): Rule[] {
  return policies.flatMap((policy) => policy.rules.filter((rule) => rule.ref.direction === direction));
}

function isOwnNode(scene: Scene, pod: WorldPod, there: End): boolean {
  if (there.type === 'pod') return false;
  if (there.type === 'node' && there.node === pod.node) return true;
  return isLocalAddress(scene, there);
}

/** One that every node answers itself. */
const isLocalAddress = (scene: Places, end: End): boolean =>
  end.address !== undefined && scene.isNodeLocal(end.address);

export const peersMatch = (scene: Places, { peers }: Rule, there: End): boolean =>
  peers === null || peers.some((peer) => peerMatches(scene, peer, there));

export const peerMatches = (scene: Places, peer: Peer, there: End): boolean =>
  holdsPeer(peer, (leaf) => holdsLeaf(scene, leaf, there));

function holdsLeaf(scene: Places, leaf: LeafPeer, there: End): boolean {
  if (leaf.type === 'pods') return there.type === 'pod' && selectsPod(scene, leaf, there.pod);
  if (leaf.type === 'entity') return isEntity(scene, leaf.entity, there);
  const { address } = there;
  if (address === undefined) return false;
  if (leaf.type === 'block')
    return (
      rangesOf(leaf).some((range) => contains(range, address)) &&
      !leaf.except.some((range) => contains(range, address))
    );
  const text = formatAddress(address);
  if (leaf.type === 'nodes')
    return scene.nodesWith(text).some(({ labels }) => leaf.nodes.selects(labels ?? {}));
  return scene.namesOf(text).some((name) => leaf.patterns.some((pattern) => pattern.matches(name)));
}

function isEntity(scene: Places, entity: Entity, there: End): boolean {
  const isNode =
    there.type === 'node' ||
    (there.type === 'outside' && scene.nodesWith(formatAddress(there.address)).length > 0);
  switch (entity) {
    case 'all':
      return true;
    case 'host':
      // What is asked about is not the pod's own node.
      return false;
    case 'remote-node':
      return isNode;
    default:
      return (there.type === 'pod' || isNode) === (entity === 'cluster');
  }
}

export function portsMatch(rule: Pick<Rule, 'ports' | 'sourcePorts'>, flow: ResolvedFlow): boolean {
  const { ports, sourcePorts } = rule;
  const { src, dst, port, sourcePort } = flow;
  return (
    (ports === null || ports.some((match) => matchesPort(match, flow, { end: dst, port }))) &&
    (sourcePorts === undefined ||
      sourcePorts.some((match) => matchesPort(match, flow, { end: src, port: sourcePort })))
  );
}

function matchesPort(
  match: PortMatch,
  flow: ResolvedFlow,
  at: { end: End; port: number | undefined },
): boolean {
  const { protocol, icmp } = flow;
  if ('protocolNumber' in match) return flow.protocolNumber === match.protocolNumber;
  if (protocol !== match.protocol) return false;
  if (match.protocol === 'ICMP') return icmp !== undefined && matchesIcmp(match, icmp);
  const { end, port } = at;
  if (port === undefined) return false;
  if ('first' in match) return match.first <= port && port <= match.last;
  return (
    end.type === 'pod' &&
    end.pod.ports.some((p) => p.name === match.name && p.protocol === protocol && p.port === port)
  );
}

const matchesIcmp = (match: IcmpMatch, icmp: NonNullable<ResolvedFlow['icmp']>): boolean =>
  (match.family === undefined || match.family === icmp.family) &&
  (match.type === undefined || match.type === icmp.type) &&
  (match.code === undefined || match.code === icmp.code);
