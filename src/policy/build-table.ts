/** The table of a role: for each class of peers the ports that they may use, and by which rule. */
import type { Direction } from './decision.ts';
import { flattenPorts, type PortEntry, type PortRule, sameOutcome } from './entries.ts';
import type { Identities, PeerClass } from './identities.ts';
import type { Isolation } from './isolation.ts';
import type { Policy, PortRange, Rule } from './model.ts';
import { type NamedPorts, namedPortsText, nameKey, namesIn } from './named-ports.ts';
import type { Numbering } from './numbering.ts';
import type { PolicyEntry, PolicyTable } from './tables.ts';
import { TIERS } from './tiers.ts';

/** What all pods with one table have in common. */
export interface Role {
  readonly text: string;
  readonly direction: Direction;
  readonly policies: readonly Policy[];
  readonly isolation: Isolation;
  /** Rules of this direction, the first decides first. */
  readonly rules: readonly Rule[];
  /** Of `rules`; absent if all are enforced. */
  readonly audited?: ReadonlySet<Rule> | undefined;
  /** What port names mean at these pods; empty for egress, where the peer says it. */
  readonly named: NamedPorts;
}

export function buildTable(
  number: number,
  role: Role,
  { classes }: Identities,
  numbering: Numbering,
): PolicyTable {
  const { direction, isolation } = role;
  const defaultRule = numbering.defaultDeny(direction, isolation.enforced);
  const flatten = createFlattener(role, numbering);
  const nobody = flatten(undefined);
  const isImplied = (entry: PortEntry) =>
    entry.protocol === null && defaultRule !== 0 && entry.rule === defaultRule && !entry.audit;
  const entries: PolicyEntry[] = nobody
    .filter((entry) => !isImplied(entry))
    .map((entry) => ({ identity: 0, ...entry }));
  // Where rules only ever allow, whoever is told apart from 0 may do all that 0 may: going on to 0 adds nothing.
  const goesOn = isolation.audited.length > 0 && isOnlyAllowed(role);
  // Nor where everything else of 0 is decided alike.
  const [rest] = nobody.length === 1 ? nobody : [];
  const isLeftToNobody = (entry: PortEntry) =>
    (goesOn && isImplied(entry)) ||
    (rest !== undefined && entry.protocol === null && sameOutcome(entry, rest));
  for (const peer of classes) {
    const own = flatten(peer);
    if (own === nobody) continue;
    for (const entry of own) if (!isLeftToNobody(entry)) entries.push({ identity: peer.identity, ...entry });
  }
  return { number, direction, defaultRule, entries };
}

const isOnlyAllowed = ({ rules, audited }: Role): boolean =>
  audited === undefined && rules.every(({ verdict }) => verdict === 'allow');

/** Entries for a class; the very same array for classes to which the same rules apply in the same way. */
export function createFlattener(
  role: Role,
  numbering: Numbering,
): (peer: PeerClass | undefined) => PortEntry[] {
  const numbers = role.rules.map((rule) => numbering.rule(rule.ref));
  const matching = createMatcher(role.rules);
  const hasNames = role.direction === 'egress' && role.rules.some((rule) => namesIn(rule).length > 0);
  const ends = endsOf(role, numbering);
  const byRules = new Map<string, PortEntry[]>();
  const byEntries = new Map<string, PortEntry[]>();
  return (peer) => {
    const named: NamedPorts = role.direction === 'ingress' ? role.named : (peer?.named ?? new Map());
    const places = matching(peer);
    const key = `${places.join(' ')} # ${hasNames ? namedPortsText(named) : ''}`;
    const known = byRules.get(key);
    if (known) return known;
    const portRule = (place: number): PortRule => {
      const { tier, verdict, ports } = role.rules[place]!;
      return { number: numbers[place]!, tier, verdict, ports: resolve(ports, named) };
    };
    const isEnforced = (place: number) => !role.audited?.has(role.rules[place]!);
    const entries = flattenPorts({
      enforced: ends.enforced(places.filter(isEnforced).map(portRule)),
      ...(ends.audited ? { audited: ends.audited(places.map(portRule)) } : {}),
    });
    const text = entries
      .map((e) => `${e.protocol}:${e.ports?.join('-')}:${e.verdict}:${e.rule}:${e.audit?.rule}`)
      .join(' ');
    const same = byEntries.get(text) ?? entries;
    byEntries.set(text, same);
    byRules.set(key, same);
    return same;
  };
}

/** What decides where no rule does: the default deny, in its tier, or nothing. */
function endsOf({ direction, isolation, policies }: Role, numbering: Numbering) {
  const end = (refs: Isolation['enforced']) => {
    const denied = { tier: TIERS.default, verdict: 'deny', ports: null } as const;
    const closing: PortRule =
      refs.length > 0
        ? { ...denied, number: numbering.defaultDeny(direction, refs) }
        : { number: 0, tier: Number.POSITIVE_INFINITY, verdict: 'allow', ports: null };
    return (rules: readonly PortRule[]): PortRule[] => [
      ...rules.filter(({ tier }) => tier <= closing.tier),
      closing,
    ];
  };
  const hasAudited = policies.some(({ stage }) => stage === 'audit');
  return { enforced: end(isolation.enforced), audited: hasAudited ? end(isolation.audited) : undefined };
}

/** Places in the list, ascending, of the rules that have this class for a peer. Undefined: what is in no class. */
function createMatcher(rules: readonly Rule[]): (peer: PeerClass | undefined) => readonly number[] {
  const always: number[] = [];
  const byTerm = new Map<string, number[]>();
  for (const [place, { peers }] of rules.entries()) {
    if (peers === null) always.push(place);
    for (const { text } of peers ?? []) {
      const places = byTerm.get(text);
      if (places) places.push(place);
      else byTerm.set(text, [place]);
    }
  }
  return (peer) => {
    if (!peer) return always;
    const own = new Set<number>();
    for (const term of peer.terms) for (const place of byTerm.get(term) ?? []) own.add(place);
    return own.size === 0 ? always : [...always, ...own].sort((a, b) => a - b);
  };
}

function resolve(ports: Rule['ports'], named: NamedPorts): PortRange[] | null {
  if (ports === null) return null;
  return ports.flatMap((port) =>
    'name' in port ? (named.get(nameKey(port.protocol, port.name)) ?? []) : 'first' in port ? [port] : [],
  );
}
