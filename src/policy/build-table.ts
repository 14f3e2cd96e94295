/** The table of a role: for each class of peers the ports that they may use, and by which rule. */
import type { Direction } from './decision.ts';
import { flattenPorts, type PortEntry, type PortRange } from './entries.ts';
import type { Identities, PeerClass } from './identities.ts';
import type { Policy, Rule } from './model.ts';
import { type NamedPorts, namedPortsText, nameKey, namesIn } from './named-ports.ts';
import type { Numbering } from './numbering.ts';
import type { PolicyEntry, PolicyTable } from './tables.ts';

/** What all pods with one table have in common. */
export interface Role {
  readonly text: string;
  readonly direction: Direction;
  readonly policies: readonly Policy[];
  /** Rules of this direction, the first decides first. */
  readonly rules: readonly Rule[];
  /** What port names mean at these pods; empty for egress, where the peer says it. */
  readonly named: NamedPorts;
}

export function buildTable(
  number: number,
  role: Role,
  { classes }: Identities,
  numbering: Numbering,
): PolicyTable {
  const defaultRule = numbering.defaultDeny(
    role.direction,
    role.policies.map((policy) => policy.ref),
  );
  const flatten = createFlattener(role, numbering);
  const nobody = flatten(undefined);
  const entries: PolicyEntry[] = nobody.map((entry) => ({ identity: 0, ...entry }));
  for (const peer of classes) {
    const own = flatten(peer);
    if (own !== nobody) for (const entry of own) entries.push({ identity: peer.identity, ...entry });
  }
  return { number, direction: role.direction, defaultRule, entries };
}

/** Entries for a class; the very same array for classes to which the same rules apply in the same way. */
function createFlattener(role: Role, numbering: Numbering): (peer: PeerClass | undefined) => PortEntry[] {
  const rules = role.rules.map((rule) => ({ rule, number: numbering.rule(rule.ref) }));
  const matching = createMatcher(role.rules);
  const hasNames = role.direction === 'egress' && role.rules.some((rule) => namesIn(rule).length > 0);
  const byRules = new Map<string, PortEntry[]>();
  const byEntries = new Map<string, PortEntry[]>();
  return (peer) => {
    const named: NamedPorts = role.direction === 'ingress' ? role.named : (peer?.named ?? new Map());
    const places = matching(peer);
    const key = `${places.join(' ')} # ${hasNames ? namedPortsText(named) : ''}`;
    const known = byRules.get(key);
    if (known) return known;
    const entries = flattenPorts(
      places
        .map((place) => rules[place]!)
        .map(({ rule, number }) => ({ number, ports: portsOf(rule, named) })),
    );
    const text = entries.map((e) => `${e.protocol}:${e.ports?.join('-')}:${e.rule}`).join(' ');
    const same = byEntries.get(text) ?? entries;
    byEntries.set(text, same);
    byRules.set(key, same);
    return same;
  };
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

function portsOf(rule: Rule, named: NamedPorts): PortRange[] | null {
  if (rule.ports === null) return null;
  return rule.ports.flatMap((port) =>
    'name' in port ? (named.get(nameKey(port.protocol, port.name)) ?? []) : [port],
  );
}
