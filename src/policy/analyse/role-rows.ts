/** What each role lets pass to each class of peers, by the compiler's own flattener. */
import { createFlattener, type Role } from '../build-table.ts';
import type { PortEntry } from '../entries.ts';
import type { PeerClass } from '../identities.ts';
import { termsOf } from '../terms.ts';
import { namedPortsText } from '../named-ports.ts';
import type { Numbering } from '../numbering.ts';
import { protocolNumbers } from '../../lib/protocols.ts';
import { type Interval, LAST_PORT, type PortSet, type PortSets, PROTOCOLS } from './port-set.ts';

/** One closure for a role, which finds its table once: it is called for every pair. */
export function createReaders(tables: (role: Role) => RoleTable, sets: PortSets) {
  const readers = new Map<Role, (peer: number) => PortSet>();
  const open = (): PortSet => sets.all;
  return (role: Role | undefined): ((peer: number) => PortSet) => {
    if (!role) return open;
    let row: Uint32Array | undefined;
    const reader = readers.get(role) ?? ((peer) => sets.byId((row ??= tables(role).row)[peer]!));
    readers.set(role, reader);
    return reader;
  };
}

export interface RoleTable {
  /** Ids of sets by class. */
  readonly row: Uint32Array;
  ofPeer(peer: PeerClass): PortSet;
}

export interface PodClasses {
  readonly all: readonly PeerClass[];
  /** Classes by the terms that hold for them. */
  readonly holding: ReadonlyMap<string, readonly number[]>;
  /** Equal where port names mean the same. */
  readonly names: readonly number[];
}

export function podClasses(all: readonly PeerClass[]): PodClasses {
  const holding = new Map<string, number[]>();
  const byNames = new Map<string, number>();
  const names = all.map(({ terms, named }, number) => {
    for (const term of terms) {
      const list = holding.get(term);
      if (list) list.push(number);
      else holding.set(term, [number]);
    }
    const text = namedPortsText(named);
    const known = byNames.get(text) ?? byNames.size;
    byNames.set(text, known);
    return known;
  });
  return { all, holding, names };
}

export function createTables(numbering: Numbering, sets: PortSets, classes: PodClasses) {
  const tables = new Map<Role, RoleTable>();
  return (role: Role): RoleTable => {
    let table = tables.get(role);
    if (!table) {
      table = createTable(role, numbering, sets, classes);
      tables.set(role, table);
    }
    return table;
  };
}

function createTable(role: Role, numbering: Numbering, sets: PortSets, classes: PodClasses): RoleTable {
  const flatten = createFlattener(role, numbering, 'open');
  const known = new Map<readonly PortEntry[], PortSet>();
  const byDefault = role.isolation.enforced.tiers.length === 0;
  const ofPeer = (peer: PeerClass | undefined): PortSet => {
    const entries = flatten(peer);
    const set = known.get(entries) ?? entrySet(entries, byDefault, sets);
    known.set(entries, set);
    return set;
  };
  // Ids of sets in a row as long as there are classes: it is read for every pair.
  const row = new Uint32Array(classes.all.length);
  const kinds = kindsFor(role, classes);
  const byKind = new Map<number, number>();
  for (const [number, peer] of classes.all.entries()) {
    const kind = kinds[number]!;
    const id = byKind.get(kind) ?? ofPeer(peer).id;
    byKind.set(kind, id);
    row[number] = id;
  }
  return { row, ofPeer };
}

/** Numbers that are equal where the role cannot tell classes apart. */
function kindsFor(role: Role, classes: PodClasses): Float64Array {
  const kinds = new Float64Array(classes.all.length);
  const next = new Map<number, number>();
  const step = (kind: number, what: number): number => {
    const key = kind * 2 ** 26 + what;
    const known = next.get(key) ?? next.size + 1;
    next.set(key, known);
    return known;
  };
  const terms = new Set(role.rules.flatMap(({ peers }) => (peers ?? []).flatMap(termsOf)));
  let place = 0;
  for (const term of terms) {
    place++;
    for (const number of classes.holding.get(term) ?? []) kinds[number] = step(kinds[number]!, place);
  }
  if (role.direction === 'egress' && role.rules.some(hasNames))
    for (const [number, kind] of kinds.entries()) kinds[number] = kind * 2 ** 26 + classes.names[number]!;
  return kinds;
}

const hasNames = ({ ports }: Role['rules'][number]): boolean =>
  ports?.some((port) => 'name' in port) ?? false;

/** Entries of one class: those of ports first, then the one for the rest, then the default. */
function entrySet(entries: readonly PortEntry[], byDefault: boolean, sets: PortSets): PortSet {
  const rest = entries.find((entry) => entry.protocol === null);
  const restPasses = rest ? passes(rest) : byDefault;
  return sets.of(
    PROTOCOLS.map((protocol) => {
      const own = entries.filter((entry) => entry.protocol === protocolNumbers[protocol]);
      const allowed = own.filter(passes).map(rangeOf);
      if (!restPasses) return allowed;
      const taken = sets.of([own.map(rangeOf)]);
      return [...allowed, ...(sets.minus(sets.of([whole]), taken).ranges[0] ?? [])];
    }),
  );
}

const whole: readonly Interval[] = [[1, LAST_PORT]];
const rangeOf = ({ ports }: PortEntry): Interval => ports ?? [1, LAST_PORT];
/** An entry that only audits, or hands over to a proxy, lets the connection through. */
const passes = ({ verdict }: PortEntry): boolean => verdict !== 'deny';
