/** Compiles a World to tables that a data path can look up without knowing any policy. */
import type { NetworkPolicy } from '../api/types.ts';
import { type Direction, policyText, ruleText } from './decision.ts';
import { flattenPorts, type PortEntry, type PortRange } from './entries.ts';
import { classify, type Identities, type PeerClass } from './identities.ts';
import { lowerNetworkPolicy } from './language/network-policy.ts';
import { compareRules, type Policy, type Rule, termText } from './model.ts';
import { type NamedPorts, namedPortsText, nameKey, namesIn, resolveNames } from './named-ports.ts';
import { defaultDenyText, type Numbering, numberRules } from './numbering.ts';
import { assignNumbers } from './numbers.ts';
import { groupPods, type PodGroup } from './roles.ts';
import { buildScene, canonical, type Scene } from './scene.ts';
import type { PolicyEndpoint, PolicyEntry, PolicyTable, PolicyTables, RuleInfo } from './tables.ts';
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

/** What all pods with one table have in common. */
interface Role {
  readonly text: string;
  readonly direction: Direction;
  readonly policies: readonly Policy[];
  /** Rules of this direction, the first decides first. */
  readonly rules: readonly Rule[];
  /** What port names mean at these pods; empty for egress, where the peer says it. */
  readonly named: NamedPorts;
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

function buildTable(number: number, role: Role, { classes }: Identities, numbering: Numbering): PolicyTable {
  const defaultRule = numbering.defaultDeny(
    role.direction,
    role.policies.map((policy) => policy.ref),
  );
  const flatten = createFlattener(role, numbering);
  const nobody = flatten(undefined);
  const entries: PolicyEntry[] = nobody.map((entry) => ({ identity: 0, ...entry }));
  const touches = createToucher(role);
  for (const peer of classes) {
    if (!touches(peer)) continue;
    const own = flatten(peer);
    if (own !== nobody) for (const entry of own) entries.push({ identity: peer.identity, ...entry });
  }
  return { number, direction: role.direction, defaultRule, entries };
}

/** Whether any rule of the role could tell this class from the peers of no class. */
function createToucher(role: Role): (peer: PeerClass) => boolean {
  const terms = new Set(role.rules.flatMap((rule) => (rule.peers ?? []).map(termText)));
  const anyName =
    role.direction === 'egress' && role.rules.some((rule) => rule.peers === null && namesIn(rule).length > 0);
  return (peer) => (anyName && peer.named.size > 0) || intersects(terms, peer.terms);
}

function intersects(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  for (const item of small) if (large.has(item)) return true;
  return false;
}

/** Entries for a class; the very same array for classes to which the same rules apply in the same way. */
function createFlattener(role: Role, numbering: Numbering): (peer: PeerClass | undefined) => PortEntry[] {
  const rules = role.rules.map((rule) => ({
    rule,
    number: numbering.rule(rule.ref),
    terms: rule.peers?.map(termText),
  }));
  const hasNames = role.direction === 'egress' && role.rules.some((rule) => namesIn(rule).length > 0);
  const byRules = new Map<string, PortEntry[]>();
  const byEntries = new Map<string, PortEntry[]>();
  return (peer) => {
    const matching = rules.filter(({ terms }) => !terms || terms.some((term) => peer?.terms.has(term)));
    const named: NamedPorts = role.direction === 'ingress' ? role.named : (peer?.named ?? new Map());
    const key = `${matching.map((m) => m.number).join(' ')} # ${hasNames ? namedPortsText(named) : ''}`;
    const known = byRules.get(key);
    if (known) return known;
    const entries = flattenPorts(
      matching.map(({ rule, number }) => ({ number, ports: portsOf(rule, named) })),
    );
    const text = entries.map((e) => `${e.protocol}:${e.ports?.join('-')}:${e.rule}`).join(' ');
    const same = byEntries.get(text) ?? entries;
    byEntries.set(text, same);
    byRules.set(key, same);
    return same;
  };
}

function portsOf(rule: Rule, named: NamedPorts): PortRange[] | null {
  if (rule.ports === null) return null;
  return rule.ports.flatMap((port) =>
    'name' in port ? (named.get(nameKey(port.protocol, port.name)) ?? []) : [port],
  );
}

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
