/** Compiles a World to tables that a data path can look up without knowing any policy. */

import { createRoles } from './assign-roles.ts';
import { beyondTables } from './beyond-tables.ts';
import { createClassifier } from './classifier.ts';
import { createEndpoints } from './endpoints.ts';
import { comparePolicies, type Policy } from './model.ts';
import { createNumbering, type Numbering } from './numbering.ts';
import { createPlaces } from './place-list.ts';
import { createPolicyList } from './policy-list.ts';
import { type CompiledRole, createTables } from './role-tables.ts';
import { createGroups, type PolicyDifference } from './roles.ts';
import { canonical, type Places } from './scene.ts';
import { TABLE_LIMIT } from './table-limit.ts';
import type { PolicyProblem, PolicyTables } from './tables.ts';
import type { World } from './world.ts';

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
export function createCompiler(
  /** Of the entries of a table (table-limit.ts). */
  limit = TABLE_LIMIT,
): (world: World, options?: CompileOptions) => PolicyTables {
  const next = createRoleCompiler(limit);
  return (world, options) => next(world, options).tables;
}

/** Tables, and what they are made of: until the next world. */
export interface CompiledRoles {
  readonly tables: PolicyTables;
  readonly numbering: Numbering;
  roles(): readonly CompiledRole[];
}

export function createRoleCompiler(
  limit = TABLE_LIMIT,
): (world: World, options?: CompileOptions) => CompiledRoles {
  let parts = createParts(limit);
  return (world, { onlyNode } = {}) => {
    try {
      return compileParts(parts, world, onlyNode);
    } catch (error) {
      // Half of the parts may have heard of the change: begin anew.
      parts = createParts(limit);
      throw error;
    }
  };
}

function createParts(limit: number) {
  const roles = createRoles();
  return {
    places: createPlaces(),
    policies: createPolicyList(),
    groups: createGroups(),
    numbering: createNumbering(),
    roles,
    endpoints: createEndpoints(roles),
    classifier: createClassifier(),
    tables: createTables(limit),
    problems: createProblems(({ problems }) => problems),
    beyond: createProblems(beyondTables),
    nodes: createNodes(),
  };
}

function compileParts(
  parts: ReturnType<typeof createParts>,
  world: World,
  onlyNode: string | undefined,
): CompiledRoles {
  const { places, pods } = parts.places(world);
  const difference = parts.policies.update(world.policies, places.namespaces, world.surroundings);
  const groups = parts.groups.update(places, difference, pods);
  const numbering = parts.numbering.update(difference, groups);
  const touched = parts.roles.update(groups);
  const { endpoints, roles } = parts.endpoints({ places, pods, touched, onlyNode });
  const identities = parts.classifier.classify({ places, pods, groups, roles });
  const tables = {
    identities: identities.prefixes,
    endpoints,
    tables: parts.tables.build(roles, identities, numbering),
    ...parts.tables.describe(roles, numbering),
    nodes: parts.nodes(places),
    nodeLocal: places.nodeLocal,
    problems: parts.problems(difference),
    beyond: [...parts.beyond(difference), ...parts.tables.problems()],
  };
  return { tables, numbering, roles: parts.tables.roles };
}

/** Their addresses in canonical text. */
function createNodes(): (places: Places) => ReadonlyMap<string, readonly string[]> {
  let last: Places['nodes'] | undefined;
  let nodes = new Map<string, readonly string[]>();
  return (places) => {
    if (last !== places.nodes)
      nodes = new Map(places.nodes.map((node) => [node.name, node.addresses.map(canonical)]));
    last = places.nodes;
    return nodes;
  };
}

/** Of each policy once, in the order of policies. */
function createProblems(of: (policy: Policy) => readonly PolicyProblem[]) {
  const known = new Map<Policy, readonly PolicyProblem[]>();
  return ({ gone, come }: PolicyDifference): PolicyProblem[] => {
    for (const policy of gone) known.delete(policy);
    for (const policy of come) {
      const problems = of(policy);
      if (problems.length > 0) known.set(policy, problems);
    }
    return [...known].sort(([a], [b]) => comparePolicies(a.ref, b.ref)).flatMap(([, problems]) => problems);
  };
}
