/**
 * What each end of a connection lets pass, symbolically: for each role (pods with the same policies) the ports by class
 * of peer. The flattener of the compiler says it, so that analysis and enforcement cannot differ.
 */
import { type Address, type Family, tryParseAddress } from '../../lib/ip.ts';
import { createRoles } from '../assign-roles.ts';
import { nestBlocks } from '../blocks.ts';
import { createFlattener, type Role } from '../build-table.ts';
import type { Direction } from '../decision.ts';
import { protocolNumbers } from '../../lib/protocols.ts';
import type { PortEntry } from '../entries.ts';
import { addressTerms, type PeerClass } from '../identities.ts';
import type { PodPeer } from '../model.ts';
import { type NamedPorts, namedPortsText } from '../named-ports.ts';
import { createNumbering, type Numbering } from '../numbering.ts';
import { createTerms, type Peers } from '../peer-terms.ts';
import { type Alike, createGroups } from '../roles.ts';
import { buildScene, type Scene } from '../scene.ts';
import type { WorldPod } from '../world.ts';
import type { Estate, Workload } from './estate.ts';
import { type Interval, LAST_PORT, type PortSet, type PortSets, PROTOCOLS } from './port-set.ts';

/** Pods of one workload that nothing tells apart. */
export interface Unit {
  /** One of them. */
  readonly pod: WorldPod;
  /** Set for pods on the host network: they are their node, at which nothing is enforced. */
  readonly node: string | undefined;
  /** Nodes that these pods are on. */
  readonly nodes: ReadonlySet<string>;
  /** Undefined: not isolated. */
  readonly roles: Readonly<Record<Direction, Role | undefined>>;
  /** Number of its class of peers. */
  readonly peer: number;
  /** What it passes to or from a class, by its number. */
  readonly ports: Readonly<Record<Direction, (peer: number) => PortSet>>;
}

export interface Sides {
  readonly scene: Scene;
  readonly numbering: Numbering;
  readonly sets: PortSets;
  readonly family: Family;
  readonly roles: ReadonlySet<Role>;
  readonly classes: readonly PeerClass[];
  units(workload: Workload): readonly Unit[];
  /** What a role passes to or from a class that is no pod's: an address from outside, a pod that may come. */
  portsFor(role: Role | undefined, peer: PeerClass): PortSet;
  /** From one unit to another, both ends asked. */
  between(src: Unit, dst: Unit): PortSet;
}

export interface SidesOptions {
  readonly sets: PortSets;
  /** Of addresses, where pods have both; 4 by default. */
  readonly family?: Family | undefined;
}

export function createSides(estate: Estate, { sets, family = 4 }: SidesOptions): Sides {
  const scene = buildScene(estate.world);
  const difference = { gone: [], come: scene.policies };
  const groups = createGroups().update(scene, difference);
  const numbering = createNumbering().update(difference, groups);
  const assigned = createRoles();
  assigned.update(groups);
  const roles = new Set<Role>();
  for (const pod of scene.pods)
    for (const direction of ['ingress', 'egress'] as const) {
      const role = assigned.roleOf(pod, direction);
      if (role) roles.add(role);
    }
  const terms = createTerms();
  terms.update(roles);
  const classify = createPodClasses(scene, groups.groups, terms.peers(), family);
  const drafts = createUnits(scene, assigned.roleOf, classify.number, family);
  const units = estate.workloads.map((workload) => [workload, drafts(workload)] as const);
  const tables = createTables(numbering, sets, podClasses(classify.classes));
  const ports = createReaders(tables, sets);
  const ofWorkload = new Map(
    units.map(([workload, list]) => [
      workload,
      list.map(
        (unit): Unit => ({
          ...unit,
          ports: { ingress: ports(unit.roles.ingress), egress: ports(unit.roles.egress) },
        }),
      ),
    ]),
  );
  return {
    scene,
    numbering,
    sets,
    family,
    roles,
    classes: classify.classes,
    units: (workload) => ofWorkload.get(workload) ?? [],
    portsFor: (role, peer) => (role ? tables(role).ofPeer(peer) : sets.all),
    between(src, dst) {
      if (src.node !== undefined) {
        const exempt = dst.node !== undefined || dst.nodes.has(src.node);
        return exempt ? sets.all : dst.ports.ingress(src.peer);
      }
      if (dst.node !== undefined) return src.nodes.has(dst.node) ? sets.all : src.ports.egress(dst.peer);
      return sets.and(src.ports.egress(dst.peer), dst.ports.ingress(src.peer));
    },
  };
}

const noNames: NamedPorts = new Map();

/** Sorts pods by the peer terms that hold for them, as the compiler's identities do, but also pods without address. */
function createPodClasses(scene: Scene, groups: readonly Alike[], peers: Peers, family: Family) {
  const classes: PeerClass[] = [];
  const byText = new Map<string, number>();
  const blocks = nestBlocks(addressTerms(scene, peers));
  const held = createHolders(scene, peers.pods);
  const alikeOf = new Map<WorldPod, readonly string[]>();
  for (const group of groups) {
    const own = held(group);
    for (const pod of group.pods) alikeOf.set(pod, own);
  }
  return {
    classes,
    number(pod: WorldPod, address: Address | undefined): number {
      const within = address ? blocks.match(address) : [];
      const own = alikeOf.get(pod) ?? [];
      const all = within.length === 0 ? own : [...own, ...within];
      const named = pod.hostNetwork === true ? noNames : peers.names(all, pod);
      const text = `${family} ${all.join(' | ')} # ${namedPortsText(named)}`;
      const known = byText.get(text);
      if (known !== undefined) return known;
      byText.set(text, classes.length);
      return classes.push({ identity: 0, terms: new Set(all), named }) - 1;
    },
  };
}

/** The pod terms that hold for pods alike, in one order for all. */
function createHolders(scene: Scene, terms: ReadonlyMap<string, PodPeer>) {
  const byNamespace = new Map<string, [string, PodPeer][]>();
  const open: [string, PodPeer][] = [];
  for (const entry of [...terms].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const { namespace } = entry[1];
    if (!('name' in namespace)) open.push(entry);
    else byNamespace.set(namespace.name, [...(byNamespace.get(namespace.name) ?? []), entry]);
  }
  const openIn = new Map<string, [string, PodPeer][]>();
  return ({ namespace, labels }: Alike): string[] => {
    let here = openIn.get(namespace);
    if (!here) {
      const own = scene.namespaceLabels(namespace);
      here = open.filter(([, peer]) => 'selector' in peer.namespace && peer.namespace.selector.selects(own));
      openIn.set(namespace, here);
    }
    return [...(byNamespace.get(namespace) ?? []), ...here].flatMap(([text, { pods }]) =>
      pods.selects(labels) ? [text] : [],
    );
  };
}

type Draft = Omit<Unit, 'ports'>;

function createUnits(
  scene: Scene,
  roleOf: (pod: WorldPod, direction: Direction) => Role | undefined,
  classOf: (pod: WorldPod, address: Address | undefined) => number,
  family: Family,
) {
  const ids = new Map<Role | undefined, number>();
  const idOf = (role: Role | undefined): number => {
    const id = ids.get(role) ?? ids.size;
    ids.set(role, id);
    return id;
  };
  return ({ pods }: Workload): Draft[] => {
    const found = new Map<string, Draft & { nodes: Set<string> }>();
    for (const pod of pods) {
      const isNode = pod.hostNetwork === true;
      const addresses = isNode ? (scene.node(pod.node)?.addresses ?? []) : pod.addresses;
      const peer = classOf(pod, addressIn(addresses, family));
      const roles = {
        ingress: isNode ? undefined : roleOf(pod, 'ingress'),
        egress: isNode ? undefined : roleOf(pod, 'egress'),
      };
      const key = `${idOf(roles.ingress)} ${idOf(roles.egress)} ${peer} ${isNode ? pod.node : ''}`;
      const known = found.get(key);
      if (known) known.nodes.add(pod.node);
      else
        found.set(key, {
          pod,
          node: isNode ? pod.node : undefined,
          nodes: new Set([pod.node]),
          roles,
          peer,
        });
    }
    return [...found.values()];
  };
}

function addressIn(texts: readonly string[], family: Family): Address | undefined {
  for (const text of texts) {
    const address = tryParseAddress(text);
    if (address?.family === family) return address;
  }
  return undefined;
}

/** One closure for a role, which finds its table once: it is called for every pair. */
function createReaders(tables: (role: Role) => RoleTable, sets: PortSets) {
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

interface RoleTable {
  /** Ids of sets by class. */
  readonly row: Uint32Array;
  ofPeer(peer: PeerClass): PortSet;
}

interface PodClasses {
  readonly all: readonly PeerClass[];
  /** Classes by the terms that hold for them. */
  readonly holding: ReadonlyMap<string, readonly number[]>;
  /** Equal where port names mean the same. */
  readonly names: readonly number[];
}

function podClasses(all: readonly PeerClass[]): PodClasses {
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

function createTables(numbering: Numbering, sets: PortSets, classes: PodClasses) {
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
  const flatten = createFlattener(role, numbering);
  const known = new Map<readonly PortEntry[], PortSet>();
  const byDefault = role.isolation.enforced.length === 0;
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
  const terms = new Set(role.rules.flatMap(({ peers }) => (peers ?? []).map(({ text }) => text)));
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
