/**
 * The decision, read straight from the objects: no table, no index over rules. `compile` is held to it by test.
 */
import { contains } from '../lib/ip.ts';
import type { Decision, Direction, Side } from './decision.ts';
import { compareRules, type Peer, type PodPeer, type Policy, type PortMatch, type Rule } from './model.ts';
import { type Numbering, numberRules } from './numbering.ts';
import { groupPods } from './roles.ts';
import { buildScene, type End, type ResolvedFlow, resolveFlow, type Scene } from './scene.ts';
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
  const egress = decideSide(scene, numbering, flow, 'egress');
  const ingress = decideSide(scene, numbering, flow, 'ingress');
  return {
    verdict: egress.verdict === 'allow' && ingress.verdict === 'allow' ? 'allow' : 'deny',
    egress,
    ingress,
  };
}

/** The pod at which `direction` is enforced, and who is at the other end. */
export function ends(flow: ResolvedFlow, direction: Direction): { here: End; there: End } {
  return direction === 'egress' ? { here: flow.src, there: flow.dst } : { here: flow.dst, there: flow.src };
}

function decideSide(scene: Scene, numbering: Numbering, flow: ResolvedFlow, direction: Direction): Side {
  const { here, there } = ends(flow, direction);
  if (here.type !== 'pod')
    return { verdict: 'allow', reason: 'not-a-pod', isolated: false, isolatedBy: [], ruleNumber: 0 };
  const policies = isolating(scene, here.pod, direction);
  const isolatedBy = policies.map((policy) => policy.ref);
  const allowed = { verdict: 'allow', isolated: policies.length > 0, isolatedBy, ruleNumber: 0 } as const;
  if (there.type === 'pod' && podKey(there.pod) === podKey(here.pod)) return { ...allowed, reason: 'self' };
  if (isOwnNode(scene, here.pod, there)) return { ...allowed, reason: 'own-node' };
  if (policies.length === 0) return { ...allowed, reason: 'not-isolated' };

  const rule = rulesOf(policies, direction)
    .filter((candidate) => peersMatch(scene, candidate, there) && portsMatch(candidate, flow))
    .sort(compareRules)[0];
  if (rule) return { ...allowed, reason: 'rule', rule: rule.ref, ruleNumber: numbering.rule(rule.ref) };
  return {
    verdict: 'deny',
    reason: 'default-deny',
    isolated: true,
    isolatedBy,
    ruleNumber: numbering.defaultDeny(direction, isolatedBy),
  };
}

export function isolating(scene: Scene, pod: WorldPod, direction: Direction): Policy[] {
  return scene.policies.filter((p) => p.isolates[direction] && matchesPod(scene, p.subject, pod));
}

export function rulesOf(policies: readonly Policy[], direction: Direction): Rule[] {
  return policies.flatMap((policy) => policy.rules.filter((rule) => rule.ref.direction === direction));
}

function isOwnNode(scene: Scene, pod: WorldPod, there: End): boolean {
  if (there.type === 'pod') return false;
  if (there.type === 'node' && there.node === pod.node) return true;
  return there.address !== undefined && scene.isNodeLocal(there.address);
}

export function peersMatch(scene: Scene, rule: Rule, there: End): boolean {
  return rule.peers === null || rule.peers.some((peer) => matchesPeer(scene, peer, there));
}

function matchesPeer(scene: Scene, peer: Peer, there: End): boolean {
  if (peer.type === 'pods') return there.type === 'pod' && matchesPod(scene, peer, there.pod);
  const { address } = there;
  return (
    address !== undefined &&
    contains(peer.cidr, address) &&
    !peer.except.some((range) => contains(range, address))
  );
}

function matchesPod(scene: Scene, { namespace, pods }: PodPeer, pod: WorldPod): boolean {
  const inNamespace =
    'name' in namespace
      ? namespace.name === pod.namespace
      : namespace.selector.selects(scene.namespaceLabels(pod.namespace));
  return inNamespace && pods.selects(pod.labels);
}

export function portsMatch(rule: Rule, flow: ResolvedFlow): boolean {
  return rule.ports === null || rule.ports.some((match) => matchesPort(match, flow));
}

function matchesPort(match: PortMatch, { protocol, port, dst }: ResolvedFlow): boolean {
  if (protocol !== match.protocol || port === undefined) return false;
  if ('first' in match) return match.first <= port && port <= match.last;
  return (
    dst.type === 'pod' &&
    dst.pod.ports.some((p) => p.name === match.name && p.protocol === protocol && p.port === port)
  );
}
