/** Compiles a World to tables that a data path can look up without knowing any policy. */
import type { NetworkPolicy } from '../api/types.ts';
import { buildTable, type Role } from './build-table.ts';
import { type Direction, policyText, ruleText } from './decision.ts';
import { classify } from './identities.ts';
import { lowerNetworkPolicy } from './language/network-policy.ts';
import { compareRules, type Policy, type Rule } from './model.ts';
import { namedPortsText, namesIn, resolveNames } from './named-ports.ts';
import { defaultDenyText, type Numbering, numberRules } from './numbering.ts';
import { assignNumbers } from './numbers.ts';
import { groupPods, type PodGroup } from './roles.ts';
import { buildScene, canonical, type Scene } from './scene.ts';
import type { PolicyEndpoint, PolicyTables, RuleInfo } from './tables.ts';
import { podKey, type World, type WorldPod } from './world.ts';

export interface CompileOptions {
  /** Only the tables of this node's pods, and only the identities that these tables tell apart. */
  readonly onlyNode?: string;
}

export function compile(world: World, options: CompileOptions = {}): PolicyTables {
  return createCompiler()(world, options);
}

/** Remembers what each policy object means for as long as the object itself is kept. Objects must not be changed in place. */
export function createCompiler(): (world: World, options?: CompileOptions) => PolicyTables {
  const lowered = new WeakMap<NetworkPolicy, Policy>();
  const lower = (object: NetworkPolicy): Policy => {
    const policy = lowered.get(object) ?? lowerNetworkPolicy(object);
    lowered.set(object, policy);
    return policy;
  };
  return (world, options = {}) => compileScene(buildScene(world, lower), options);
}

function compileScene(scene: Scene, { onlyNode }: CompileOptions): PolicyTables {
  const groups = groupPods(scene);
  const numbering = numberRules(scene, groups);
  const { roleOf, numbers } = assignRoles(groups);
  const endpoints = new Map<string, PolicyEndpoint>();
  const roles = new Map<number, Role>();
  for (const pod of scene.pods) {
    if (onlyNode !== undefined && pod.node !== onlyNode) continue;
    const table = (direction: Direction): number => {
      const role = roleOf(pod, direction);
      if (!role) return 0;
      const number = numbers.get(role.text)!;
      roles.set(number, role);
      return number;
    };
    const endpoint = { ingress: table('ingress'), egress: table('egress'), pod: podKey(pod), node: pod.node };
    for (const address of pod.addresses.map(canonical))
      if (scene.podAt(address) === pod) endpoints.set(address, endpoint);
  }
  const identities = classify(scene, groups, distinctRules(roles.values()));
  return {
    identities: identities.prefixes,
    endpoints,
    tables: new Map(
      [...roles].map(([number, role]) => [number, buildTable(number, role, identities, numbering)]),
    ),
    rules: describeRules(roles.values(), numbering),
    nodes: new Map(scene.nodes.map((node) => [node.name, node.addresses.map(canonical)])),
    nodeLocal: scene.nodeLocal,
    problems: scene.policies.flatMap((policy) => policy.problems),
  };
}

/** Over all pods, also those not compiled, so that a number never depends on the node. */
function assignRoles(groups: readonly PodGroup[]) {
  const byPod: Record<Direction, Map<WorldPod, Role>> = { ingress: new Map(), egress: new Map() };
  const byText = new Map<string, Role>();
  for (const group of groups)
    for (const direction of ['ingress', 'egress'] as const) {
      const policies = group.isolatedBy[direction];
      if (policies.length === 0) continue;
      const rules = rulesOf(policies, direction);
      const names = direction === 'ingress' ? rules.flatMap(namesIn) : [];
      const selected = policies.map((policy) => policyText(policy.ref)).join(', ');
      for (const pod of group.pods) {
        const named = resolveNames(names, pod);
        const text = `${direction} of ${selected} # ${namedPortsText(named)}`;
        const role = byText.get(text) ?? { text, direction, policies, rules, named };
        byText.set(text, role);
        byPod[direction].set(pod, role);
      }
    }
  return {
    roleOf: (pod: WorldPod, direction: Direction): Role | undefined => byPod[direction].get(pod),
    numbers: assignNumbers(byText.keys()),
  };
}

const rulesOf = (policies: readonly Policy[], direction: Direction): Rule[] =>
  policies
    .flatMap((policy) => policy.rules.filter((rule) => rule.ref.direction === direction))
    .sort(compareRules);

const distinctRules = (roles: Iterable<Role>): Rule[] => [
  ...new Set([...roles].flatMap((role) => role.rules)),
];

function describeRules(roles: Iterable<Role>, numbering: Numbering): Map<number, RuleInfo> {
  const infos = new Map<number, RuleInfo>();
  for (const { direction, policies, rules } of roles) {
    const refs = policies.map((policy) => policy.ref);
    const number = numbering.defaultDeny(direction, refs);
    const text = defaultDenyText(direction, refs);
    infos.set(number, { number, verdict: 'deny', direction, origin: { default: refs }, text });
    for (const { ref, verdict } of rules) {
      const number = numbering.rule(ref);
      infos.set(number, { number, verdict, direction, origin: ref, text: ruleText(ref) });
    }
  }
  return infos;
}
