/**
 * What each end of a connection lets pass, symbolically: for each role (pods with the same policies) the ports by class
 * of peer. The flattener of the compiler says it, so that analysis and enforcement cannot differ.
 */
import { type Address, type Family, tryParseAddress } from '../../lib/ip.ts';
import { createRoles } from '../assign-roles.ts';
import type { Role } from '../build-table.ts';
import type { Direction } from '../decision.ts';
import type { PeerClass } from '../identities.ts';
import { createNumbering, type Numbering } from '../numbering.ts';
import { createTerms } from '../peer-terms.ts';
import { createGroups } from '../roles.ts';
import { buildScene, type Scene } from '../scene.ts';
import type { WorldPod } from '../world.ts';
import type { Estate, Workload } from './estate.ts';
import { createMeshSides, type MeshSides } from './mesh-sides.ts';
import { createPodClasses } from './pod-classes.ts';
import type { PortSet, PortSets } from './port-set.ts';
import { createReaders, createTables, podClasses } from './role-rows.ts';

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
  /** Its class for the mesh; empty where nothing is said of it. */
  readonly mesh: string;
  /** What it passes to or from a class, by its number. */
  readonly ports: Readonly<Record<Direction, (peer: number) => PortSet>>;
}

export interface Sides {
  readonly scene: Scene;
  readonly numbering: Numbering;
  readonly sets: PortSets;
  readonly family: Family;
  readonly mesh: MeshSides | undefined;
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
  terms.update({ gone: [], come: roles });
  const classify = createPodClasses(scene, groups.groups, terms.peers(), family);
  const mesh = createMeshSides(scene, sets, family);
  const drafts = createUnits(scene, assigned.roleOf, classify.number, mesh, family);
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
    mesh,
    roles,
    classes: classify.classes,
    units: (workload) => ofWorkload.get(workload) ?? [],
    portsFor: (role, peer) => (role ? tables(role).ofPeer(peer) : sets.all),
    between(src, dst) {
      if (dst.node !== undefined)
        return src.node !== undefined || src.nodes.has(dst.node) ? sets.all : src.ports.egress(dst.peer);
      if (src.node !== undefined && dst.nodes.has(src.node)) return sets.all;
      const { egress } = src.ports;
      const ingress = dst.ports.ingress(src.peer);
      const network = src.node !== undefined ? ingress : sets.and(egress(dst.peer), ingress);
      return mesh ? sets.and(network, mesh.between(src, dst)) : network;
    },
  };
}

type Draft = Omit<Unit, 'ports'>;

function createUnits(
  scene: Scene,
  roleOf: (pod: WorldPod, direction: Direction) => Role | undefined,
  classOf: (pod: WorldPod, address: Address | undefined) => number,
  mesh: MeshSides | undefined,
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
      const inMesh = mesh?.classOf(pod) ?? '';
      const key = `${idOf(roles.ingress)} ${idOf(roles.egress)} ${peer} ${isNode ? pod.node : ''} ${inMesh}`;
      const known = found.get(key);
      if (known) known.nodes.add(pod.node);
      else
        found.set(key, {
          pod,
          node: isNode ? pod.node : undefined,
          nodes: new Set([pod.node]),
          roles,
          peer,
          mesh: inMesh,
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
