/** The table of a role: for each class of peers the ports that they may use, and by which rule. */
import type { Direction } from './decision.ts';
import { flattenPorts, type PlainPort, type PortEntry, type PortRule, sameOutcome } from './entries.ts';
import type { PeerClass } from './identities.ts';
import type { Isolation, Isolations } from './isolation.ts';
import type { Policy, Rule } from './model.ts';
import { type NamedPorts, namedPortsText, nameKey, namesIn } from './named-ports.ts';
import type { Numbering } from './numbering.ts';
import type { Peer } from './peers.ts';
import { type SourcePorts, withoutSources } from './source-ports.ts';
import type { PolicyEntry, PolicyTable } from './tables.ts';
import { holdsFor, neededTerms } from './terms.ts';

/** What all pods with one table have in common. */
export interface Role {
  readonly text: string;
  readonly direction: Direction;
  readonly policies: readonly Policy[];
  readonly isolation: Isolations;
  /** Rules of this direction, the first decides first. */
  readonly rules: readonly Rule[];
  /** Of `rules`; absent if all are enforced. */
  readonly audited?: ReadonlySet<Rule> | undefined;
  /** What port names mean at these pods; empty for egress, where the peer says it. */
  readonly named: NamedPorts;
}

export interface TableBuilder {
  readonly number: number;
  /** @param classes ordered by identity; those without entries of their own may be left out */
  build(classes: readonly PeerClass[]): PolicyTable;
  /** The very same table where these classes have no entries in it. Of those that are gone first. */
  changed(table: PolicyTable, gone: readonly PeerClass[], come: readonly PeerClass[]): PolicyTable;
}

export function createTableBuilder(number: number, role: Role, numbering: Numbering): TableBuilder {
  const { direction, isolation } = role;
  const { policies, tiers } = isolation.enforced;
  const defaultRule = numbering.defaultDeny(direction, tiers[0]?.policies ?? []);
  const flatten = createFlattener(role, numbering);
  const nobody = flatten(undefined);
  const isImplied = (entry: PortEntry) =>
    entry.protocol === null && defaultRule !== 0 && entry.rule === defaultRule && !entry.audit;
  const ofNobody: readonly PolicyEntry[] = nobody
    .filter((entry) => !isImplied(entry))
    .map((entry) => ({ identity: 0, ...entry }));
  // Where rules only ever allow, whoever is told apart from 0 may do all that 0 may: going on to 0 adds nothing.
  const goesOn = isolation.audited.tiers.length > 0 && isOnlyAllowed(role);
  // Nor where everything else of 0 is decided alike.
  const [rest] = nobody.length === 1 ? nobody : [];
  const isLeftToNobody = (entry: PortEntry) =>
    (goesOn && isImplied(entry)) ||
    (rest !== undefined && entry.protocol === null && sameOutcome(entry, rest));
  const isolatedBy = tiers.length > 1 ? { isolatedBy: policies } : {};
  const entriesOf = (peer: PeerClass): PolicyEntry[] => {
    const own = flatten(peer);
    if (own === nobody) return [];
    const { identity } = peer;
    return own.filter((entry) => !isLeftToNobody(entry)).map((entry) => ({ identity, ...entry }));
  };
  const tableOf = (entries: readonly PolicyEntry[]): PolicyTable => ({
    number,
    direction,
    defaultRule,
    ...isolatedBy,
    entries,
  });
  return {
    number,
    build: (classes) => tableOf([...ofNobody, ...classes.flatMap(entriesOf)]),
    changed(table, gone, come) {
      const fresh = new Map<number, readonly PolicyEntry[]>(gone.map(({ identity }) => [identity, []]));
      for (const peer of come) fresh.set(peer.identity, entriesOf(peer));
      const parts: (readonly PolicyEntry[])[] = [];
      let at = 0;
      for (const [identity, own] of [...fresh].sort(([a], [b]) => a - b)) {
        const [first, last] = [identity, identity + 1].map((each) => placeOf(table.entries, each));
        if (first === last && own.length === 0) continue;
        parts.push(table.entries.slice(at, first), own);
        at = last!;
      }
      return parts.length === 0
        ? table
        : tableOf(parts[0]!.concat(...parts.slice(1), table.entries.slice(at)));
    },
  };
}

/** Of the first entry of this identity or a greater one. */
function placeOf(entries: readonly PolicyEntry[], identity: number): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle]!.identity < identity) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Terms of which one at least holds for a class with entries of its own; undefined: any class may have some. */
export function neededBy({ rules, direction }: Role): ReadonlySet<string> | undefined {
  const terms = new Set<string>();
  for (const rule of rules) {
    if (rule.log) continue;
    // A port's name means something else at each.
    if (!rule.peers && direction === 'egress' && namesIn(rule).length > 0) return undefined;
    for (const peer of rule.peers ?? []) {
      const needed = neededTerms(peer);
      if (!needed) return undefined;
      for (const term of needed) terms.add(term);
    }
  }
  return terms;
}

/** And to whoever is not told apart only where they allow everybody, so that nobody is left out by what he is. */
const isOnlyAllowed = ({ rules, audited, isolation }: Role): boolean =>
  audited === undefined &&
  isolation.enforced.tiers.length === 1 &&
  rules.every(
    ({ verdict, peers, tier }) =>
      verdict === 'allow' &&
      tier === isolation.enforced.tiers[0]!.tier &&
      (peers === null || !peers.some((peer) => holdsFor(peer, NO_TERMS))),
  );

const NO_TERMS: ReadonlySet<string> = new Set();

/** Entries for a class; the very same array for classes to which the same rules apply in the same way. */
export function createFlattener(
  role: Role,
  numbering: Numbering,
  sourcePorts: SourcePorts = 'closed',
): (peer: PeerClass | undefined) => PortEntry[] {
  const numbers = role.rules.map((rule) => numbering.rule(rule.ref));
  const rules = role.rules.map((rule) => withoutSources(rule, sourcePorts));
  const matching = createMatcher(role.rules);
  const hasNames = role.direction === 'egress' && role.rules.some((rule) => namesIn(rule).length > 0);
  const closed = closersOf(role, numbering);
  const byRules = new Map<string, PortEntry[]>();
  const byEntries = new Map<string, PortEntry[]>();
  return (peer) => {
    const named: NamedPorts = role.direction === 'ingress' ? role.named : (peer?.named ?? new Map());
    const places = matching(peer);
    const key = `${places.join(' ')} # ${hasNames ? namedPortsText(named) : ''}`;
    const known = byRules.get(key);
    if (known) return known;
    const portRule = (place: number): PortRule => {
      const { tier, priority, verdict, ports, l7, auth } = rules[place]!;
      return {
        number: numbers[place]!,
        tier,
        priority,
        verdict,
        l7: l7 !== undefined,
        auth,
        ports: resolvePorts(ports, named),
      };
    };
    const isEnforced = (place: number) => !role.audited?.has(role.rules[place]!);
    const entries = flattenPorts({
      enforced: closed.enforced(places.filter(isEnforced).map(portRule)),
      ...(closed.audited ? { audited: closed.audited(places.map(portRule)) } : {}),
    });
    const text = entries
      .map(
        (e) =>
          `${e.protocol}:${e.ports?.join('-')}:${e.verdict}:${e.rule}:${e.auth}:${e.redirect}:${e.audit?.rule}`,
      )
      .join(' ');
    const same = byEntries.get(text) ?? entries;
    byEntries.set(text, same);
    byRules.set(key, same);
    return same;
  };
}

/** Lists of rules with what decides where no rule does: behind each tier its default deny, at the end nothing. */
function closersOf({ direction, isolation, policies }: Role, numbering: Numbering) {
  const withEnds = ({ tiers }: Isolation) => {
    const denies = tiers.map(({ tier, policies: by }): PortRule => {
      const number = numbering.defaultDeny(direction, by);
      return { number, tier, priority: Number.POSITIVE_INFINITY, verdict: 'deny', ports: null };
    });
    return (rules: readonly PortRule[]): PortRule[] => {
      const list: PortRule[] = [];
      let at = 0;
      for (const deny of denies) {
        while (at < rules.length && rules[at]!.tier <= deny.tier) list.push(rules[at++]!);
        list.push(deny);
      }
      return [...list, ...rules.slice(at), OPEN_END];
    };
  };
  const hasAudited = policies.some(({ stage }) => stage === 'audit');
  return {
    enforced: withEnds(isolation.enforced),
    audited: hasAudited ? withEnds(isolation.audited) : undefined,
  };
}

const OPEN_END: PortRule = {
  number: 0,
  tier: Number.POSITIVE_INFINITY,
  priority: 0,
  verdict: 'allow',
  ports: null,
};

/** Places in the list, ascending, of the rules that have this class for a peer. Undefined: what is in no class. */
export function createMatcher(rules: readonly Rule[]): (peer: PeerClass | undefined) => readonly number[] {
  const always: number[] = [];
  const asked: Asked[] = [];
  const byTerm = new Map<string, Asked[]>();
  for (const [place, { peers, log }] of rules.entries()) {
    // What only logs decides nothing.
    if (log) continue;
    if (peers === null) always.push(place);
    for (const peer of peers ?? []) {
      const terms = neededTerms(peer);
      const one = { place, peer: terms?.length === 1 && terms[0] === peer.text ? undefined : peer };
      if (!terms) asked.push(one);
      for (const term of terms ?? []) {
        const known = byTerm.get(term);
        if (known) known.push(one);
        else byTerm.set(term, [one]);
      }
    }
  }
  return (peer) => {
    const terms = peer?.terms ?? NO_TERMS;
    if (asked.length === 0 && terms.size === 0) return always;
    const own = new Set<number>();
    const ask = (one: Asked): void => {
      if (!own.has(one.place) && (!one.peer || holdsFor(one.peer, terms))) own.add(one.place);
    };
    for (const one of asked) ask(one);
    for (const term of terms) for (const one of byTerm.get(term) ?? []) ask(one);
    return own.size === 0 ? always : [...new Set([...always, ...own])].sort((a, b) => a - b);
  };
}

interface Asked {
  readonly place: number;
  /** Absent: the term alone says it. */
  readonly peer: Peer | undefined;
}

export function resolvePorts(ports: Rule['ports'], named: NamedPorts): PlainPort[] | null {
  if (ports === null) return null;
  return ports.flatMap((port): readonly PlainPort[] =>
    'name' in port ? (named.get(nameKey(port.protocol, port.name)) ?? []) : [port],
  );
}
