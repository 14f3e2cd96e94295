/** Policies in another language, where it can say them, and what is lost where it cannot. */
import { NAMESPACE_NAME } from '../../api/labels.ts';
import { isCalico } from '../../api/calico-types.ts';
import { compareText, type Policy } from '../model.ts';
import { isCalicoPolicy, kindOf, lowerPolicies, namespaceOf, type PolicyObject } from '../objects.ts';
import { type Stage, stageIn } from '../stage.ts';
import type { World, WorldNamespace } from '../world.ts';
import { type Grants, grantsOf } from './grants.ts';
import { anybody, type Lose, type Loss } from './loss.ts';
import { toCalico } from './to-calico.ts';
import { toCilium } from './to-cilium.ts';
import { clusterToCluster, grantsToCluster, isLastBaseline } from './to-cluster.ts';
import { toNetworkPolicy } from './to-network-policy.ts';

export const LANGUAGES = ['kubernetes', 'cilium', 'calico', 'cluster', 'admin'] as const;
export type Language = (typeof LANGUAGES)[number];

export interface Rendered {
  readonly objects: readonly PolicyObject[];
  /** Of the language already: as they are. */
  readonly kept: readonly PolicyObject[];
  readonly losses: readonly Loss[];
}

export function render(world: World, to: Language): Rendered {
  const losses: Loss[] = [];
  const objects = new Map<string, PolicyObject>();
  const kept = world.policies.filter((object) => isOf(to, object));
  const stages = new Map(world.namespaces.map(({ name, labels }) => [name, stageIn(labels)]));
  const context: Context = {
    namespaces: namespacesOf(world),
    to,
    stageOf: (namespace) => stages.get(namespace),
    hasLastBaseline: world.policies.some(isLastBaseline),
  };
  const names = new Set(kept.map(idOf));
  for (const object of world.policies.filter((each) => !isOf(to, each)))
    for (const policy of lowerPolicies(object, stages.get(namespaceOf(object)), world.surroundings ?? {})) {
      const lose: Lose = (path, message, flows) => losses.push({ policy: policy.ref, path, message, flows });
      for (const { path, message } of policy.problems)
        lose(path, `cannot be read: ${message}`, { directions: [], others: 'any' });
      for (const made of renderPolicy(policy, context, lose)) {
        const one = unique(made, names);
        if (!one) {
          lose('spec', 'there can be one BaselineAdminNetworkPolicy only', anybody());
          continue;
        }
        if (one !== made && CLUSTER_WIDE.has(kindOf(one)))
          lose(
            'metadata.name',
            'is taken; of policies with one priority the first by name decides',
            anybody(),
          );
        objects.set(idOf(one), one);
      }
    }
  return {
    objects: [...objects.values()].sort((a, b) => compareText(idOf(a), idOf(b))),
    kept,
    losses: distinct(losses),
  };
}

interface Context {
  readonly namespaces: readonly WorldNamespace[];
  readonly to: Language;
  readonly hasLastBaseline: boolean;
  stageOf(namespace: string): Stage | undefined;
}

/** Those that pods are in too, with the label that every namespace has. */
function namespacesOf({ namespaces, pods }: World): WorldNamespace[] {
  const labels = new Map(namespaces.map(({ name, labels: own }) => [name, own]));
  const names = new Set([...labels.keys(), ...pods.map(({ namespace }) => namespace)]);
  return [...names].map((name) => ({ name, labels: { ...labels.get(name), [NAMESPACE_NAME]: name } }));
}

const CLUSTER_WIDE: ReadonlySet<string> = new Set([
  'AdminNetworkPolicy',
  'BaselineAdminNetworkPolicy',
  'ClusterNetworkPolicy',
]);

function isOf(to: Language, object: PolicyObject): boolean {
  const kind = kindOf(object);
  switch (to) {
    case 'kubernetes':
      return kind === 'NetworkPolicy';
    case 'cilium':
      return kind === 'CiliumNetworkPolicy' || kind === 'CiliumClusterwideNetworkPolicy';
    case 'calico':
      return isCalicoPolicy(object);
    case 'cluster':
      return kind === 'ClusterNetworkPolicy';
    default:
      return kind === 'AdminNetworkPolicy' || kind === 'BaselineAdminNetworkPolicy';
  }
}

function renderPolicy(policy: Policy, context: Context, lose: Lose): readonly PolicyObject[] {
  const { namespaces, to, hasLastBaseline, stageOf } = context;
  const { ref } = policy;
  if ((to === 'cluster' || to === 'admin') && CLUSTER_WIDE.has(ref.kind))
    return clusterToCluster(policy, ref.name, to, hasLastBaseline, lose);
  return grantsOf(policy, namespaces, lose).flatMap((grants) => inLanguage(grants));

  function inLanguage(grants: Grants): readonly PolicyObject[] {
    const { namespace } = grants;
    const inherited = stageOf(namespace);
    switch (to) {
      case 'kubernetes':
        return [toNetworkPolicy(grants, ref.name, inherited, lose)];
      case 'cilium':
        return [toCilium(grants, ref.name, inherited, lose)];
      case 'calico':
        return [toCalico(grants, ref.name, inherited, lose)];
      default:
        return grantsToCluster(grants, `${namespace}.${ref.name}`, to, lose);
    }
  }
}

const idOf = (object: PolicyObject): string =>
  `${isCalico({ apiVersion: object.apiVersion ?? '' }) ? 'calico ' : ''}${object.kind} ${namespaceOf(object)}/${object.metadata.name}`;

/** Undefined: of this kind there can be one only. */
function unique(object: PolicyObject, names: Set<string>): PolicyObject | undefined {
  let one = object;
  for (let n = 2; names.has(idOf(one)); n++) {
    if (object.kind === 'BaselineAdminNetworkPolicy') return undefined;
    one = {
      ...object,
      metadata: { ...object.metadata, name: `${object.metadata.name}-${n}` },
    } as PolicyObject;
  }
  names.add(idOf(one));
  return one;
}

const distinct = (losses: readonly Loss[]): Loss[] => [
  ...new Map(losses.map((each) => [JSON.stringify(each), each])).values(),
];
