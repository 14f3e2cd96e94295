/** What in the policies of a world does nothing: unread parts, selectors of nothing, rules that decide nothing. */
import { type PolicyRef, policyText, type RuleRef, ruleText } from '../decision.ts';
import { compareText, type Policy, type Rule } from '../model.ts';
import { isInScope } from '../mesh/model.ts';
import { nameKey } from '../named-ports.ts';
import { type Peer, selectsPod } from '../peers.ts';
import { peersText } from '../words.ts';
import type { WorldPod } from '../world.ts';
import type { Estate } from './estate.ts';
import { createPortSets } from './port-set.ts';
import { findRedundant } from './redundant.ts';
import { findRedundantOfMesh } from './redundant-mesh.ts';
import { createSides, type Sides } from './sides.ts';

export const LINT_CHECKS = [
  /** A part that cannot be read, and so matches nothing. */
  'unreadable',
  /** The policy selects no pod that is known. */
  'selects-nothing',
  /** The rule can match no flow, whatever pods may come. */
  'never-matches',
  /** No pod that is known is the peer. */
  'no-peer',
  /** No pod that the port is looked up at has a port of this name. */
  'unknown-port-name',
  /** Other rules allow all that it allows, and decide before it. */
  'shadowed',
  /** Other rules allow all that it allows. */
  'redundant',
] as const;

export type LintCheck = (typeof LINT_CHECKS)[number];

export interface Finding {
  readonly check: LintCheck;
  readonly policy: PolicyRef;
  /** Within the object. */
  readonly path: string;
  readonly message: string;
}

/** Ordered by policy, then by path. Rules that are redundant can all be removed together. */
export function lint(estate: Estate): Finding[] {
  const sides = createSides(estate, { sets: createPortSets() });
  const { policies } = sides.scene;
  const findings = policies.flatMap((policy) => [
    ...policy.problems.map(({ path, message }) => finding('unreadable', policy.ref, path, message)),
    ...subjectFindings(sides, policy),
    ...policy.rules.flatMap((rule) => ruleFindings(sides, policy, rule)),
  ]);
  findings.push(...meshFindings(sides));
  const dead = new Set(
    findings
      .filter(({ check }) => check === 'never-matches')
      .map(({ policy, path }) => `${policyText(policy)} ${path}`),
  );
  for (const { rule, by, shadowed } of findRedundant(sides)) {
    if (dead.has(ruleText(rule.ref))) continue;
    const others = by.map(ruleText).join(', ');
    const [verb, done] = WORDS[rule.verdict];
    findings.push(
      shadowed
        ? finding(
            'shadowed',
            rule.ref,
            rule.ref.path,
            `never decides: what it ${verb} is decided alike before it by ${others}`,
          )
        : finding('redundant', rule.ref, rule.ref.path, `what it ${verb} is also ${done} by ${others}`),
    );
  }
  for (const { ref, action, by } of sides.scene.mesh ? findRedundantOfMesh(sides.scene.mesh) : [])
    findings.push(
      finding(
        'redundant',
        ref,
        ref.path,
        `what it ${action === 'ALLOW' ? 'allows' : 'denies'} is also ${action === 'ALLOW' ? 'allowed' : 'denied'} by ${ruleText(by)}`,
      ),
    );
  return findings.sort(
    (a, b) => compareText(policyText(a.policy), policyText(b.policy)) || compareText(a.path, b.path),
  );
}

const WORDS = {
  allow: ['allows', 'allowed'],
  deny: ['denies', 'denied'],
  pass: ['passes on', 'passed on'],
} as const;

const finding = (check: LintCheck, ref: PolicyRef | RuleRef, path: string, message: string): Finding => ({
  check,
  policy: { kind: ref.kind, namespace: ref.namespace, name: ref.name },
  path,
  message,
});

function subjectFindings({ scene }: Sides, policy: Policy): Finding[] {
  // What cannot be read selects nothing too, and is told already.
  if (!policy.isolates.ingress && !policy.isolates.egress && policy.rules.length === 0) return [];
  if (scene.pods.some((pod) => holds(scene, policy.subject, pod))) return [];
  const contradiction = contradictionIn(policy.subject);
  const why = contradiction ? `no pod can have ${contradiction}` : `it is for ${peersText([policy.subject])}`;
  return [finding('selects-nothing', policy.ref, subjectPath(policy.ref), `selects no pod: ${why}`)];
}

function meshFindings({ scene }: Sides): Finding[] {
  const { authorizations = [], peers = [] } = scene.mesh ?? {};
  return [...authorizations, ...peers].flatMap(({ ref, scope, problems }) => {
    const unread = problems.map(({ path, message }) => finding('unreadable', ref, path, message));
    if (!scope || scene.pods.some((pod) => isInScope(scope, pod))) return unread;
    const labels = Object.entries(scope.labels).map(([key, value]) => `${key}=${value}`);
    const where = scope.namespace === null ? 'every namespace' : scope.namespace;
    const who = `${labels.length === 0 ? 'every pod' : `pods ${labels.join(',')}`} in ${where}`;
    return [...unread, finding('selects-nothing', ref, 'spec.selector', `selects no pod: it is for ${who}`)];
  });
}

/** Of an object that holds several policies, that of this one. */
export const subjectPath = ({ kind, part = 'spec' }: PolicyRef): string =>
  `${part}.${SUBJECTS[kind] ?? 'subject'}`;

const SUBJECTS: Readonly<Record<string, string>> = {
  NetworkPolicy: 'podSelector',
  'NetworkPolicy.projectcalico.org': 'selector',
  GlobalNetworkPolicy: 'selector',
  AuthorizationPolicy: 'selector',
  PeerAuthentication: 'selector',
  CiliumNetworkPolicy: 'endpointSelector',
  CiliumClusterwideNetworkPolicy: 'endpointSelector',
};

function holds(scene: Sides['scene'], peer: Peer, pod: WorldPod): boolean {
  return peer.type === 'pods' && selectsPod(scene, peer, pod);
}

/** Cilium's `{}`: it is there to close its direction. */
const isEmpty = ({ problems }: Policy, { ref, peers, ports }: Rule): boolean =>
  peers?.length === 0 &&
  ports === null &&
  ref.kind.startsWith('Cilium') &&
  !problems.some(({ path }) => path.startsWith(ref.path));

function ruleFindings(sides: Sides, policy: Policy, rule: Rule): Finding[] {
  const { ref, peers, ports } = rule;
  if (isEmpty(policy, rule)) return [];
  if (peers?.length === 0 || ports?.length === 0) {
    const what = peers?.length === 0 ? 'peer' : 'port';
    return [finding('never-matches', ref, ref.path, `matches nothing: none of its ${what}s can be read`)];
  }
  const impossible = (peers ?? []).map(contradictionIn);
  if (peers && impossible.every((each) => each !== undefined))
    return [
      finding('never-matches', ref, ref.path, `matches nothing: no pod can have ${impossible.join(', or ')}`),
    ];
  const field = ref.direction === 'ingress' ? 'from' : 'to';
  const lonely = (peers ?? []).flatMap((peer, i) => {
    if (peer.type !== 'pods' || sides.scene.pods.some((pod) => holds(sides.scene, peer, pod))) return [];
    // An item that cannot be read is not among the peers, and shifts those after it.
    const list = policy.problems.length === 0 ? `${ref.path}.${field}[${i}]` : `${ref.path}.${field}`;
    // An item of Cilium's may be several peers, in a list of one of many names.
    const path = ref.kind.startsWith('Cilium') ? ref.path : list;
    return [finding('no-peer', ref, path, `matches no pod that is known: ${peersText([peer])}`)];
  });
  return [...lonely, ...nameFindings(sides, policy, rule)];
}

/** Names mean what destination pods say: those that the policy selects, or the peers of egress. */
function nameFindings({ scene }: Sides, policy: Policy, { ref, peers, ports }: Rule): Finding[] {
  const isDestination = (pod: WorldPod): boolean => {
    if (ref.direction === 'ingress') return holds(scene, policy.subject, pod);
    return peers === null || peers.some((peer) => peer.type !== 'pods' || holds(scene, peer, pod));
  };
  const named = (ports ?? []).filter((port) => 'name' in port);
  if (named.length === 0) return [];
  const destinations = scene.pods.filter(isDestination);
  if (destinations.length === 0) return [];
  const known = new Set(
    destinations.flatMap((pod) =>
      pod.ports.flatMap(({ protocol, name }) => (name === undefined ? [] : [nameKey(protocol, name)])),
    ),
  );
  return named
    .filter(({ protocol, name }) => !known.has(nameKey(protocol, name)))
    .map(({ protocol, name }) =>
      finding(
        'unknown-port-name',
        ref,
        `${ref.path}.ports`,
        `no destination has a ${protocol} port of the name "${name}" (${destinations.length} ${destinations.length === 1 ? 'pod' : 'pods'} looked at)`,
      ),
    );
}

/** Requirements of one selector that exclude each other, in words; undefined if some pod could fulfil them. */
function contradictionIn(peer: Peer): string | undefined {
  if (peer.type !== 'pods') return undefined;
  const selectors = [peer.pods.text, ...('selector' in peer.namespace ? [peer.namespace.selector.text] : [])];
  return selectors.find(contradicts);
}

/** Reads the canonical text of a selector. */
function contradicts(text: string): boolean {
  const byKey = new Map<
    string,
    { allowed?: Set<string>; refused: Set<string>; exists: boolean; absent: boolean }
  >();
  const at = (key: string) => {
    const known = byKey.get(key) ?? { refused: new Set<string>(), exists: false, absent: false };
    byKey.set(key, known);
    return known;
  };
  for (const part of text === '*' ? [] : text.split(/,(?![^(]*\))/)) {
    const list = /^(\S+) (in|notin) \((.*)\)$/.exec(part);
    const equal = /^([^!=]+)(!?=)(.*)$/.exec(part);
    const key = list?.[1] ?? equal?.[1] ?? part.replace(/^!/, '');
    const values = list ? list[3]!.split(',') : equal ? [equal[3]!] : undefined;
    const entry = at(key);
    if (!values) {
      if (part.startsWith('!')) entry.absent = true;
      else entry.exists = true;
    } else if (list?.[2] === 'notin' || equal?.[2] === '!=')
      for (const value of values) entry.refused.add(value);
    else entry.allowed = entry.allowed ? entry.allowed.intersection(new Set(values)) : new Set(values);
  }
  return [...byKey.values()].some(({ allowed, refused, exists, absent }) => {
    if (absent && (exists || allowed)) return true;
    return allowed !== undefined && allowed.difference(refused).size === 0;
  });
}
