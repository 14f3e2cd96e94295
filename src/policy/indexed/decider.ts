/**
 * The decision by index: what `decide` says, hundreds of thousands of times a second. It remembers nothing of flows. What
 * it remembers is who there is (parties.ts), and for each role its rules (role-index.ts); of a world that differs
 * a little from the one before, only what differs is worked out again.
 */
import { type Address, parseAddress } from '../../lib/ip.ts';
import { createRoles } from '../assign-roles.ts';
import type { Role } from '../build-table.ts';
import { createPlaces } from '../place-list.ts';
import { type Decision, type Direction, decisionOf, type Side } from '../decision.ts';
import { createMeshes } from '../mesh/mesh.ts';
import { createMeshDecider } from '../mesh/proxy-rules.ts';
import { createNumbering } from '../numbering.ts';
import { createPolicyList } from '../policy-list.ts';
import { createGroups } from '../roles.ts';
import { checkFlow, flowBetween, type Places, type ResolvedFlow, resolveFlow } from '../scene.ts';
import type { Flow, World, WorldPod } from '../world.ts';
import { createEndClasses } from './end-classes.ts';
import { createParties, type Parties, type Party, type PartyRoles } from './parties.ts';
import { createPeerSets } from './peer-sets.ts';
import { readIpv4 } from './read-ipv4.ts';
import { decideBy, indexRole, type RoleIndex } from './role-index.ts';

/** @throws HeddleError `UnknownPod`, `BadAddress`, `BadFlow` */
export type Decider = (flow: Flow) => Decision;

/** For many flows in one world, or in a world that changes. A decider is of the world that was last given. */
export function createIndexedDecider(): (world: World) => Decider {
  let parts = createParts();
  return (world) => {
    try {
      return parts(world);
    } catch (error) {
      // Half of the parts may have heard of the change: begin anew.
      parts = createParts();
      throw error;
    }
  };
}

function createParts(): (world: World) => Decider {
  const policies = createPolicyList();
  const groups = createGroups();
  const numbering = createNumbering();
  const roles = createRoles();
  const peerSets = createPeerSets();
  const meshOf = createMeshes(createMeshDecider);
  const placesOf = createPlaces();
  let places: Places | undefined;
  let parties: Parties | undefined;
  let indexes = new Map<Role, RoleIndex>();
  let epoch: number | undefined;
  let version = 0;
  return (world) => {
    const { places: next, pods } = placesOf(world);
    const difference = policies.update(world.policies, next.namespaces, world.surroundings);
    const grouped = groups.update(next, difference, pods);
    const numbers = numbering.update(difference, grouped);
    roles.update(grouped);
    const isSame = !peerSets.update(difference) && next === places;
    if (!parties || !isSame) parties = createParties(next, createEndClasses(next, peerSets.all));
    places = next;
    const known = epoch === numbers.epoch() ? indexes : new Map<Role, RoleIndex>();
    epoch = numbers.epoch();
    indexes = new Map();
    const indexOf = (pod: WorldPod, direction: Direction): RoleIndex | undefined => {
      const role = roles.roleOf(pod, direction);
      if (!role) return undefined;
      const index = indexes.get(role) ?? known.get(role) ?? indexRole(role, numbers, peerSets);
      indexes.set(role, index);
      return index;
    };
    return createDecider({ places: next, parties, version: ++version, mesh: meshOf(world), indexOf });
  };
}

interface Deps {
  readonly places: Places;
  readonly parties: Parties;
  /** Another after each change. */
  readonly version: number;
  /** Undefined: nothing is said of the mesh. */
  readonly mesh: ReturnType<typeof createMeshDecider> | undefined;
  /** Undefined: no policy says anything of it. */
  indexOf(pod: WorldPod, direction: Direction): RoleIndex | undefined;
}

const ALLOWED = { verdict: 'allow', ruleNumber: 0 } as const;
const FREE = { ...ALLOWED, isolated: false, isolatedBy: [], audit: ALLOWED } as const;
const NOT_A_POD: Side = { ...FREE, reason: 'not-a-pod' };

function createDecider({ places, parties, version, mesh, indexOf }: Deps): Decider {
  const free = {
    self: { ...FREE, reason: 'self' },
    'own-node': { ...FREE, reason: 'own-node' },
    'not-isolated': { ...FREE, reason: 'not-isolated' },
  } as const;
  function rolesOf(party: Party, pod: WorldPod): PartyRoles {
    if (party.roles?.version === version) return party.roles;
    const roles = { version, ingress: indexOf(pod, 'ingress'), egress: indexOf(pod, 'egress') };
    party.roles = roles;
    return roles;
  }

  function side(here: Party, there: Party, flow: ResolvedFlow, direction: Direction): Side {
    const { pod } = here;
    if (!pod) return NOT_A_POD;
    const roles = rolesOf(here, pod);
    const index = direction === 'ingress' ? roles.ingress : roles.egress;
    const reason = exemption(pod, there);
    if (reason) return index ? index.allowed(reason) : free[reason];
    return index ? decideBy(index, there.class, flow) : free['not-isolated'];
  }
  return (flow) => {
    checkFlow(flow);
    const parted = parties.of(flow);
    // It says what is wrong.
    if (!parted) return refuse(places, flow);
    const { src, dst, family } = parted;
    const resolved = flowBetween(src.end, dst.end, flow, family);
    return decisionOf(
      side(src, dst, resolved, 'egress'),
      side(dst, src, resolved, 'ingress'),
      mesh?.(withOwnSource(resolved, flow), src.isNodeLocal),
    );
  };
}

/** The network tells addresses outside apart as far as its policies do; the mesh has others. */
const withOwnSource = (resolved: ResolvedFlow, { src }: Flow): ResolvedFlow =>
  resolved.src.type === 'outside' && 'address' in src
    ? { ...resolved, src: { type: 'outside', address: readAddress(src.address) } }
    : resolved;

/** Of one that is known to be an address. */
function readAddress(text: string): Address {
  const value = readIpv4(text);
  return value === undefined ? parseAddress(text) : { family: 4, value: BigInt(value) };
}

function refuse(places: Places, flow: Flow): never {
  resolveFlow(places, flow);
  throw new Error('a flow whose ends are known was refused');
}

function exemption(pod: WorldPod, there: Party): 'self' | 'own-node' | undefined {
  if (there.pod) return there.pod === pod ? 'self' : undefined;
  const { end, isNodeLocal } = there;
  return isNodeLocal || (end.type === 'node' && end.node === pod.node) ? 'own-node' : undefined;
}
