/** Compiles a World to tables that a data path can look up without knowing any policy. */

import { createRoles } from './assign-roles.ts';
import { beyondTables } from './beyond-tables.ts';
import type { Role } from './build-table.ts';
import type { Direction } from './decision.ts';
import { createClassifier } from './identities.ts';
import { comparePolicies, type Policy } from './model.ts';
import { createNumbering } from './numbering.ts';
import { createPolicyList, sameItems } from './policy-list.ts';
import { createTables } from './role-tables.ts';
import { createGroups, type PolicyDifference } from './roles.ts';
import { buildPlaces, canonical, type Places } from './scene.ts';
import type { PolicyEndpoint, PolicyProblem, PolicyTables } from './tables.ts';
import { podKey, type World, type WorldPod } from './world.ts';

export interface CompileOptions {
  /** Only the tables of this node's pods, and only the identities that these tables tell apart. */
  readonly onlyNode?: string;
}

export function compile(world: World, options: CompileOptions = {}): PolicyTables {
  return createCompiler()(world, options);
}

/**
 * Remembers the last world: what has not changed since is not worked out again, and is the very same object in the
 * tables. Objects must not be changed in place.
 */
export function createCompiler(): (world: World, options?: CompileOptions) => PolicyTables {
  let policies = createPolicyList();
  let compiler = createParts();
  let places: Places | undefined;
  return (world, { onlyNode } = {}) => {
    places = samePlaces(places, world);
    try {
      return compileParts(compiler, {
        places,
        difference: policies.update(world.policies, places.namespaces, world.surroundings),
        onlyNode,
      });
    } catch (error) {
      // Half of the parts may have heard of the change: begin anew.
      policies = createPolicyList();
      compiler = createParts();
      places = undefined;
      throw error;
    }
  };
}

const createParts = () => ({
  groups: createGroups(),
  numbering: createNumbering(),
  roles: createRoles(),
  classifier: createClassifier(),
  tables: createTables(),
  problems: new Map<Policy, readonly PolicyProblem[]>(),
  addressesOf: createAddresses(),
});

/** In canonical text. Pods are the same objects as long as they do not change. */
function createAddresses(): (pod: WorldPod) => readonly string[] {
  const known = new WeakMap<WorldPod, readonly string[]>();
  return (pod) => {
    const addresses = known.get(pod) ?? pod.addresses.map(canonical);
    known.set(pod, addresses);
    return addresses;
  };
}

interface Input {
  readonly places: Places;
  readonly difference: PolicyDifference;
  readonly onlyNode: string | undefined;
}

function compileParts(parts: ReturnType<typeof createParts>, input: Input): PolicyTables {
  const { places, difference, onlyNode } = input;
  const groups = parts.groups.update(places, difference);
  const numbering = parts.numbering.update(difference, groups);
  parts.roles.update(groups);
  const endpoints = new Map<string, PolicyEndpoint>();
  const roles = new Map<number, Role>();
  for (const pod of places.pods) {
    if (onlyNode !== undefined && pod.node !== onlyNode) continue;
    const table = (direction: Direction): number => {
      const role = parts.roles.roleOf(pod, direction);
      if (!role) return 0;
      const number = parts.roles.number(role);
      roles.set(number, role);
      return number;
    };
    const endpoint = { ingress: table('ingress'), egress: table('egress'), pod: podKey(pod), node: pod.node };
    for (const address of parts.addressesOf(pod))
      if (places.podAt(address) === pod) endpoints.set(address, endpoint);
  }
  const all = new Set(roles.values());
  const identities = parts.classifier.classify(places, groups.groups, all);
  return {
    identities: identities.prefixes,
    endpoints,
    tables: parts.tables.build(roles, identities, numbering),
    ...parts.tables.describe(all, numbering),
    nodes: new Map(places.nodes.map((node) => [node.name, node.addresses.map(canonical)])),
    nodeLocal: places.nodeLocal,
    problems: problemsOf(parts.problems, difference),
  };
}

/** The former ones where nothing but policies has changed. */
export function samePlaces(former: Places | undefined, world: World): Places {
  if (!former) return buildPlaces(world);
  const same =
    sameItems(former.world.pods, world.pods) &&
    sameItems(former.world.nodes, world.nodes) &&
    sameItems(former.namespaces, world.namespaces) &&
    sameItems(former.world.nodeLocal ?? [], world.nodeLocal ?? []) &&
    sameItems(former.world.serviceAccounts ?? [], world.serviceAccounts ?? []) &&
    sameItems(former.world.names ?? [], world.names ?? []);
  if (same) return former;
  const namespaces = sameItems(former.namespaces, world.namespaces) ? former.namespaces : world.namespaces;
  const accounts = sameItems(former.accounts ?? [], world.serviceAccounts ?? []);
  return buildPlaces({
    ...world,
    namespaces,
    ...(accounts && former.accounts ? { serviceAccounts: former.accounts } : {}),
  });
}

function problemsOf(
  known: Map<Policy, readonly PolicyProblem[]>,
  { gone, come }: PolicyDifference,
): PolicyProblem[] {
  for (const policy of gone) known.delete(policy);
  for (const policy of come) {
    const problems = [...policy.problems, ...beyondTables(policy)];
    if (problems.length > 0) known.set(policy, problems);
  }
  return [...known].sort(([a], [b]) => comparePolicies(a.ref, b.ref)).flatMap(([, problems]) => problems);
}
