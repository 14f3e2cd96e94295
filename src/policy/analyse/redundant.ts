/** Rules without which every verdict would be the same. */
import type { Numbering } from '../numbering.ts';
import { type Case, casesOf, createReader, impliesPods, isMessage } from './every-case.ts';
import { createFlattener, type Role } from '../build-table.ts';
import type { RuleRef } from '../decision.ts';
import type { PortEntry } from '../entries.ts';
import type { PeerClass } from '../identities.ts';
import { compareRules, type Rule } from '../model.ts';
import { isLeaf, type Peer } from '../peers.ts';
import { blockOf, holdsFor, IN_CLUSTER, ON_NODE } from '../terms.ts';
import { type Block, nestBlocks } from '../blocks.ts';
import type { Places } from '../scene.ts';
import { decidingOf, mayMeet } from './same-ports.ts';
import type { Sides } from './sides.ts';

export interface Redundant {
  readonly rule: Rule;
  /** Rules that allow what it allows; never one that is redundant itself. */
  readonly by: readonly RuleRef[];
  /** It decides nothing as it is: each flow is decided by a rule before it. */
  readonly shadowed: boolean;
}

/**
 * Judged for the pods that a policy selects now, and for any peer and request. Where rules only ever allow leaf peers: pods
 * that are known, pods that may come and that one of the rule's selectors picks, and every address. Else in every case that
 * the rules tell apart (every-case.ts), where those are few, and few rules speak of ports in common. All that are found can
 * be removed together. Not judged are rules for pods that are audited, and those for which rules ask for proofs, ports of
 * senders or messages of ICMP.
 */
export function findRedundant(sides: Sides): Redundant[] {
  const rolesOf = new Map<Rule, Role[]>();
  for (const role of sides.roles)
    for (const rule of role.rules) rolesOf.set(rule, [...(rolesOf.get(rule) ?? []), role]);
  const removed = new Set<Rule>();
  const found: Redundant[] = [];
  // The last to decide goes first: of two that say the same the first stays.
  for (const rule of [...rolesOf.keys()].sort(compareRules).reverse()) {
    const roles = rolesOf.get(rule)!;
    if (rule.log || closesWith(rule, roles, removed)) continue;
    const judged = judge(rule, roles, removed, sides);
    if (!judged) continue;
    removed.add(rule);
    found.push({ rule, ...judged });
  }
  return found.reverse();
}

/** Whether its policy closes the direction by having a rule for it, and has no other. */
function closesWith(rule: Rule, roles: readonly Role[], removed: ReadonlySet<Rule>): boolean {
  const { direction } = rule.ref;
  const policy = roles[0]?.policies.find(({ rules }) => rules.includes(rule));
  if (!policy?.isolates[direction] || policy.isolatesWithout?.[direction]) return false;
  return policy.rules.every(
    (other) => other === rule || other.ref.direction !== direction || removed.has(other),
  );
}

/** Where a rule denies or passes, somebody whom several selectors pick may be decided unlike whom one of them picks. */
const isOnlyAllowed = ({ rules, audited }: Role): boolean =>
  audited === undefined && rules.every((rule) => rule.verdict === 'allow' && isPlain(rule));

const isPlain = ({ peers, ports, log, l7, auth, sourcePorts }: Rule): boolean =>
  !log &&
  !l7 &&
  !auth &&
  !sourcePorts &&
  (peers === null || peers.every(isLeaf)) &&
  (ports === null || !ports.some(isMessage));

function judge(
  rule: Rule,
  roles: readonly Role[],
  removed: ReadonlySet<Rule>,
  sides: Sides,
): Omit<Redundant, 'rule'> | undefined {
  const by = new Map<number, RuleRef>();
  const own = sides.numbering.rule(rule.ref);
  let shadowed = true;
  let matched = false;
  for (const role of roles) {
    const others = role.rules.filter((each) => each !== rule && !removed.has(each) && mayMeet(rule, each));
    // Without another rule for its ports all that it decides is its own.
    if (others.length === 0) return undefined;
    const compared = isOnlyAllowed(role)
      ? leafCases(rule, role, others, sides)
      : everyCase(rule, role, others, sides.numbering);
    if (!compared) return undefined;
    // Which rules only log is told of what decides: that must stay.
    const mustStay = role.rules.some(({ log }) => log);
    const byNumber = new Map(others.map((other) => [sides.numbering.rule(other.ref), other]));
    for (const [now, rest, alone] of compared) {
      if (!sameVerdicts(now, rest)) return undefined;
      if (now.length > 0) matched = true;
      if (now.some((entry) => entry.rule === own)) {
        if (mustStay) return undefined;
        shadowed = false;
      }
      const mine = alone.filter((entry) => entry.rule === own);
      for (const { rule: number } of decidingOf(rest, mine)) {
        const other = byNumber.get(number);
        if (other && other.verdict === rule.verdict) by.set(number, other.ref);
      }
    }
  }
  return matched && by.size > 0 ? { by: [...by.values()], shadowed } : undefined;
}

/** Entries with the rule, without it, and of it alone, for each kind of peer. */
type Compared = Iterable<
  readonly [now: readonly PortEntry[], rest: readonly PortEntry[], alone: readonly PortEntry[]]
>;

function* leafCases(rule: Rule, role: Role, others: readonly Rule[], sides: Sides): Compared {
  const within = createFlattener({ ...role, rules: [...others, rule].sort(compareRules) }, sides.numbering);
  const without = createFlattener({ ...role, rules: others }, sides.numbering);
  const alone = createFlattener({ ...role, rules: [rule] }, sides.numbering);
  for (const peer of peersOf(rule, role, sides)) yield [within(peer), without(peer), alone(peer)];
}

const known = new WeakMap<Role, readonly Case[] | 'too-many'>();

/** Undefined: not judged. */
function everyCase(
  rule: Rule,
  role: Role,
  others: readonly Rule[],
  numbering: Numbering,
): Compared | undefined {
  const cases = known.get(role) ?? casesOf(role) ?? 'too-many';
  known.set(role, cases);
  if (cases === 'too-many') return undefined;
  const within = createReader(role, [...others, rule].sort(compareRules), numbering);
  const without = createReader(role, others, numbering);
  const alone = createReader(role, [rule], numbering);
  const { peers } = rule;
  return cases
    .filter(({ peer }) => peers === null || peers.some((each) => holdsFor(each, peer.terms)))
    .map((each) => [within(each), without(each), alone(each)] as const);
}

/** Every kind of peer for which the rule could decide. */
function peersOf(rule: Rule, role: Role, sides: Sides): Iterable<PeerClass | undefined> {
  const all = [...sides.classes, ...addressClasses(sides.scene, role), ...strangers(role)];
  const { peers } = rule;
  if (peers === null) return [undefined, ...all];
  return all.filter(({ terms }) => peers.some((peer) => holdsFor(peer, terms)));
}

/** Addresses of no pod, as far as the role tells them apart: outside, and as if a node had them. */
function addressClasses(places: Places, role: Role): PeerClass[] {
  const blocks = new Map<string, Block>();
  for (const { peers } of role.rules)
    for (const leaf of (peers ?? []).filter(isLeaf)) {
      const block = blockOf(places, leaf);
      if (block) blocks.set(leaf.text, block);
    }
  const seen = new Map(nestBlocks(blocks).ranges.map(({ terms }) => [terms.join('|'), terms] as const));
  return [[], ...seen.values()].flatMap((terms) => [
    classOf(terms),
    classOf([...terms, IN_CLUSTER, ON_NODE]),
  ]);
}

const classOf = (terms: readonly string[]): PeerClass => ({
  identity: 0,
  terms: new Set(terms),
  named: new Map(),
});

/** Pods that are not known: one that a selector picks, and with it the selectors that surely do. */
function strangers(role: Role): PeerClass[] {
  const peers = new Map<string, Peer>();
  for (const rule of role.rules) for (const peer of rule.peers ?? []) peers.set(peer.text, peer);
  const all = [...peers.values()];
  const picked = all.flatMap((peer) => {
    if (peer.type !== 'pods') return [];
    const terms = all.filter((other) => other === peer || implies(peer, other)).map(({ text }) => text);
    return [classOf([...terms, IN_CLUSTER])];
  });
  return [classOf([IN_CLUSTER]), ...picked];
}

/** Whether all that `peer` picks is picked by `other`, as far as their words show it. */
export const implies = (peer: Peer, other: Peer): boolean =>
  peer.type === 'pods' && other.type === 'pods' && impliesPods(peer, other);

/** The same ports with the same verdicts, by whatever rules. */
function sameVerdicts(a: readonly PortEntry[], b: readonly PortEntry[]): boolean {
  return verdictText(a) === verdictText(b);
}

/** Ranges of one verdict that touch are one. */
function verdictText(entries: readonly PortEntry[]): string {
  const rest = entries.find(({ protocol }) => protocol === null)?.verdict ?? '';
  const parts: string[] = [rest];
  const ranged = entries.filter(({ protocol, verdict }) => protocol !== null && verdict !== rest);
  for (const [i, { protocol, ports, verdict }] of ranged.entries()) {
    const before = ranged[i - 1];
    const goesOn =
      before?.protocol === protocol &&
      before?.verdict === verdict &&
      before?.ports?.[1] === (ports?.[0] ?? 0) - 1;
    if (goesOn) parts[parts.length - 1] = parts.at(-1)!.replace(/\d+$/, String(ports?.[1]));
    else parts.push(`${protocol} ${verdict} ${ports?.[0]}-${ports?.[1]}`);
  }
  return parts.join(';');
}
