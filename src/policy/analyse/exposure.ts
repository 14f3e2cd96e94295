/** What a workload passes to or from pods that are not known: any pod of the cluster, and those that a selector awaits. */
import { compareRules } from '../model.ts';
import { leavesOf, type Peer, type PodPeer } from '../peers.ts';
import { IN_CLUSTER } from '../terms.ts';
import type { Role } from '../build-table.ts';
import type { Direction } from '../decision.ts';
import { peersText } from '../words.ts';
import type { Estate, Workload } from './estate.ts';
import { createPortSets, type PortSet } from './port-set.ts';
import { implies } from './redundant.ts';
import { createSides, type Sides, type Unit } from './sides.ts';

export interface Exposure {
  readonly workload: Workload;
  readonly direction: Direction;
  /** Whether a policy selects any of its pods for this direction. */
  readonly isolated: boolean;
  /** For a pod of which nothing is known, in any namespace. */
  readonly anyPod: PortSet;
  /** For pods that a selector picks and none that is known is: only where it is more than `anyPod`. */
  readonly awaited: readonly { readonly who: string; readonly set: PortSet }[];
}

export function exposure(estate: Estate, focus?: ReadonlySet<Workload>): Exposure[] {
  const sides = createSides(estate, { sets: createPortSets() });
  const own = focus ? estate.workloads.filter((workload) => focus.has(workload)) : estate.workloads;
  return own.flatMap((workload) =>
    (['ingress', 'egress'] as const).map((direction) => exposed(sides, workload, direction)),
  );
}

function exposed(sides: Sides, workload: Workload, direction: Direction): Exposure {
  const { sets } = sides;
  const units = sides.units(workload);
  const unite = (of: (unit: Unit) => PortSet) => units.map(of).reduce(sets.or, sets.none);
  const anyPod = unite((unit) => strangerPorts(sides, unit, direction, undefined));
  const awaited = new Map<string, PortSet>();
  for (const unit of units)
    for (const peer of peersOf(unit.roles[direction])) {
      if (isKnown(sides, peer)) continue;
      const set = strangerPorts(sides, unit, direction, peer);
      if (sets.minus(set, anyPod) === sets.none) continue;
      const who = peersText([peer]);
      awaited.set(who, sets.or(awaited.get(who) ?? sets.none, set));
    }
  return {
    workload,
    direction,
    isolated: units.some(({ roles }) => roles[direction] !== undefined),
    anyPod,
    awaited: [...awaited].map(([who, set]) => ({ who, set })),
  };
}

/** Of a pod that `peer` picks, or nothing does but what picks every pod. It has no port names. */
function strangerPorts(sides: Sides, unit: Unit, direction: Direction, peer: PodPeer | undefined): PortSet {
  const role = unit.roles[direction];
  const holds = (other: Peer) => other === peer || (peer ? implies(peer, other) : picksAll(other));
  const terms = new Set([
    IN_CLUSTER,
    ...peersOf(role)
      .filter(holds)
      .map(({ text }) => text),
  ]);
  const network = sides.portsFor(role, { identity: 0, terms, named: new Map() });
  const isAsked = direction === 'ingress' && unit.node === undefined;
  return sides.mesh && isAsked ? sides.sets.and(network, sides.mesh.fromStranger(unit)) : network;
}

const picksAll = (peer: Peer): boolean =>
  peer.type === 'pods' &&
  peer.pods.text === '*' &&
  peer.accounts === undefined &&
  'selector' in peer.namespace &&
  peer.namespace.selector.text === '*';

function peersOf(role: Role | undefined): PodPeer[] {
  const rules = [...(role?.rules ?? [])].sort(compareRules);
  return rules.flatMap(({ peers }) => (peers ?? []).flatMap(leavesOf).filter((leaf) => leaf.type === 'pods'));
}

const isKnown = ({ classes }: Sides, { text }: PodPeer): boolean =>
  classes.some(({ terms }) => terms.has(text));
