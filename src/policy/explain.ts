/** A decision in words: who decided at each end, and which rules nearly did. */

import { formatAddress } from '../lib/ip.ts';
import { concerning, decideResolved, ends, peersMatch, portsMatch, rulesOf } from './decide.ts';
import type { Decision, Direction, Outcome, RuleRef, Side } from './decision.ts';
import { policyText, ruleText } from './decision.ts';
import { isEnforced } from './isolation.ts';
import { compareRules, type Rule } from './model.ts';
import { type MeshNearMiss, meshLines, meshNearMisses } from './mesh/words.ts';
import { numberRules } from './numbering.ts';
import { groupPods } from './roles.ts';
import { buildScene, type End, type ResolvedFlow, resolveFlow, type Scene } from './scene.ts';
import { matchesRequest, type Request } from './request.ts';
import { peersText, portsText, requestsText } from './words.ts';
import { type Flow, podKey, type World } from './world.ts';

export interface Explanation {
  readonly decision: Decision;
  /**
   * Rules at a denying end that would have allowed, or passed on, before what denies did, and match all but one
   * thing; in deciding order.
   */
  readonly nearMisses: Readonly<Record<Direction, readonly NearMiss[]>>;
  /** Likewise, of a default deny by the mesh. */
  readonly meshNearMisses: readonly MeshNearMiss[];
  /** Lines for people, the verdict first. */
  readonly lines: readonly string[];
}

export interface NearMiss {
  readonly rule: RuleRef;
  readonly verdict: 'allow' | 'pass';
  readonly missed: 'port' | 'peer' | 'request';
  /** What the rule has where the flow differs: `TCP 9000`, `pods app=checkout in shop`. */
  readonly expected: string;
}

/** @throws HeddleError `UnknownPod`, `BadAddress`, `BadFlow` */
export function explain(world: World, flow: Flow): Explanation {
  const scene = buildScene(world);
  const resolved = resolveFlow(scene, flow);
  const decision = decideResolved(scene, numberRules(scene, groupPods(scene)), resolved);
  const nearMisses = {
    egress: nearMissesOf(scene, resolved, 'egress', decision.egress),
    ingress: nearMissesOf(scene, resolved, 'ingress', decision.ingress),
  };
  const { mesh } = decision;
  const ofMesh = mesh && scene.mesh ? meshNearMisses(scene.mesh, resolved, mesh) : [];
  return {
    decision,
    nearMisses,
    meshNearMisses: ofMesh,
    lines: [
      `${decision.verdict}: ${endText(resolved.src)} → ${endText(resolved.dst)} ${flowText(flow)}`,
      ...sideLines(resolved, 'egress', decision.egress, nearMisses.egress),
      ...sideLines(resolved, 'ingress', decision.ingress, nearMisses.ingress),
      ...(mesh ? meshLines(mesh, ofMesh, endText(resolved.dst)) : []),
    ],
  };
}

function nearMissesOf(scene: Scene, flow: ResolvedFlow, direction: Direction, side: Side): NearMiss[] {
  const { here, there } = ends(flow, direction);
  if (side.verdict === 'allow' || here.type !== 'pod') return [];
  const policies = concerning(scene, here.pod, direction).filter(isEnforced);
  const rules = rulesOf(policies, direction);
  const denying = rules.find(({ ref }) => ref === side.rule);
  const closing = policies.find(({ ref }) => ref === side.closedBy?.[0])?.tier ?? Number.POSITIVE_INFINITY;
  const isBefore = (rule: Rule): boolean => {
    if (!denying) return rule.tier <= closing;
    // Rules for requests add up.
    if (side.reason === 'request' && rule.tier === denying.tier) return rule.priority <= denying.priority;
    return compareRules(rule, denying) < 0;
  };
  return rules
    .filter(isBefore)
    .sort(compareRules)
    .flatMap((rule) => nearMiss(rule, flow, peersMatch(scene, rule, there)));
}

function nearMiss(rule: Rule, flow: ResolvedFlow, isPeer: boolean): NearMiss[] {
  const { ref, verdict, log, peers, ports, l7 } = rule;
  const { request } = flow;
  if (verdict === 'deny' || log) return [];
  const misses = [
    ...(isPeer ? [] : [['peer', peersText(peers)] as const]),
    ...(portsMatch(rule, flow) ? [] : [['port', portsText(ports)] as const]),
    ...(!request || !l7 || l7.some((match) => matchesRequest(match, request))
      ? []
      : [['request', requestsText(l7)] as const]),
  ];
  const [miss] = misses;
  return miss && misses.length === 1 ? [{ rule: ref, verdict, missed: miss[0], expected: miss[1] }] : [];
}

function sideLines(
  flow: ResolvedFlow,
  direction: Direction,
  side: Side,
  near: readonly NearMiss[],
): string[] {
  const { here } = ends(flow, direction);
  const head = `  ${direction} ${direction === 'egress' ? 'from' : 'to'} ${endText(here)}`;
  return [
    `${head}: ${reasonText(direction, side)}`,
    ...near.map(
      ({ rule, verdict, missed, expected }) =>
        `    near: ${ruleText(rule)} ${verdict === 'pass' ? 'would pass it on' : 'matches'} but for the ${missed}: it has ${expected || 'none'}`,
    ),
    ...(side.logged ?? []).map((rule) => `    logged by ${ruleText(rule)}`),
    ...(side.audit.ruleNumber === side.ruleNumber ? [] : [`    audit: ${auditText(side.audit)}`]),
  ];
}

function reasonText(direction: Direction, side: Side): string {
  switch (side.reason) {
    case 'not-a-pod':
      return 'allowed, no pod of this cluster, so nothing is enforced there';
    case 'self':
      return 'allowed, a pod always reaches itself';
    case 'own-node':
      return 'allowed, a pod and its own node always reach each other';
    case 'not-isolated':
      return `allowed, no policy selects it for ${direction}`;
    case 'no-rule':
      return side.isolated
        ? `allowed, what isolates it for ${direction} passes this on, and no rule after that decides it`
        : `allowed, no rule decides this and no policy isolates it for ${direction}`;
    case 'rule':
      return `${side.verdict === 'allow' ? 'allowed' : 'denied'} by ${nameOf(side)}${conditionText(side)}`;
    case 'request':
      return `denied: the connection is allowed by ${nameOf(side)}, but no rule for requests on it matches this one`;
    default: {
      const by = side.closedBy ?? side.isolatedBy;
      const selects = by.length === 1 ? 'selects' : 'select';
      return `denied by default: ${by.map(policyText).join(', ')} ${selects} it for ${direction}, and no rule allows this`;
    }
  }
}

const nameOf = ({ rule }: Side): string => (rule ? ruleText(rule) : 'a rule');

function conditionText({ redirect, auth }: Side): string {
  const proof =
    auth === undefined
      ? ''
      : auth === 'required'
        ? ', once both ends have proved who they are'
        : ', after a proof of who they are that always fails';
  return `${proof}${redirect ? ', for the requests that its rules match' : ''}`;
}

function auditText({ verdict, rule }: Outcome): string {
  const would = `would be ${verdict === 'allow' ? 'allowed' : 'denied'}`;
  if (rule) return `${would} by ${ruleText(rule)}`;
  return verdict === 'allow' ? `${would}, no rule would decide it` : `${would} by default`;
}

function endText(end: End): string {
  const address = end.address ? formatAddress(end.address) : '';
  if (end.type === 'outside') return address;
  // Pods known from files have no address yet.
  const where = address === '' ? '' : ` (${address})`;
  return end.type === 'pod' ? `${podKey(end.pod)}${where}` : `node ${end.node}${where}`;
}

/** `TCP 80 GET /x`, `ICMP type 8 code 0`, `protocol 47`, `TCP 80 from port 1500` */
export const flowText = (
  flow: Pick<Flow, 'protocol' | 'port' | 'sourcePort' | 'protocolNumber' | 'icmp' | 'request'>,
): string => {
  const { protocol, port, sourcePort, protocolNumber, request, icmp } = flow;
  return [
    protocol === 'OTHER' && protocolNumber !== undefined ? `protocol ${protocolNumber}` : protocol,
    ...(port === undefined ? [] : [port]),
    ...(sourcePort === undefined ? [] : [`from port ${sourcePort}`]),
    ...(icmp?.type === undefined ? [] : [`type ${icmp.type} code ${icmp.code}`]),
    ...(request ? [requestText(request)] : []),
  ].join(' ');
};

function requestText(request: Request): string {
  switch (request.type) {
    case 'http':
      return `${request.method} ${request.path}`;
    case 'grpc':
      return `gRPC ${request.service}/${request.method}`;
    case 'dns':
      return `dns ${request.name}`;
    case 'kafka':
      return ['kafka', request.apiKey, ...(request.topic === undefined ? [] : [request.topic])].join(' ');
    default:
      return 'not HTTP';
  }
}
