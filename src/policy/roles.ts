/**
 * Which policies select which pods, computed once for all pods with equal labels in a namespace, and again only
 * where a policy or the pods have changed. What is as it was is the very same object as before.
 */
import type { Labels } from '../api/selector.ts';
import type { Direction } from './decision.ts';
import { comparePolicies, type Policy } from './model.ts';
import { accountOf, selectsPod } from './peers.ts';
import type { Places, Scene } from './scene.ts';
import type { WorldPod } from './world.ts';

/** Pods that no selector can tell apart. */
export interface Alike {
  readonly namespace: string;
  readonly labels: Labels;
  readonly serviceAccount: string;
  readonly pods: readonly WorldPod[];
}

export interface PodGroup extends Alike {
  /** The same object as long as the pods are the same, whatever selects them. */
  readonly alike: Alike;
  /** Policies that say anything of these pods, in the order of the scene. */
  readonly concernedBy: Readonly<Record<Direction, readonly Policy[]>>;
}

export interface PolicyDifference {
  readonly gone: readonly Policy[];
  readonly come: readonly Policy[];
}

export interface GroupDifference {
  readonly groups: readonly PodGroup[];
  readonly gone: readonly PodGroup[];
  readonly come: readonly PodGroup[];
}

export interface Groups {
  /** `places` are compared by identity. */
  update(places: Places, policies: PolicyDifference): GroupDifference;
}

export function groupPods(scene: Scene): readonly PodGroup[] {
  return createGroups().update(scene, { gone: [], come: scene.policies }).groups;
}

interface Selected {
  readonly policies: readonly Policy[];
  readonly group: PodGroup;
}

export function createGroups(): Groups {
  const index = createSubjectIndex();
  let places: Places | undefined;
  let alike = new Map<string, Alike>();
  let selected = new Map<string, Selected>();
  /** Keys of the groups that each policy selects; made when it is first asked for after pods have changed. */
  let holders: Map<Policy, ReadonlySet<string>> | undefined;

  /** The selection of pods that are alike holds for whoever is in the group; labels of namespaces are part of it. */
  function regroup(next: Places): void {
    const former = selected;
    holders = undefined;
    const sameNamespaces = places?.namespaces === next.namespaces && places.accounts === next.accounts;
    alike = alikeIn(next, alike);
    selected = new Map();
    for (const [key, each] of alike) {
      const known = sameNamespaces ? former.get(key) : undefined;
      if (known?.group.alike === each) selected.set(key, known);
      else selected.set(key, select(each, known?.policies ?? index.selecting(each, next)));
    }
    places = next;
  }

  /** Keys of the groups that a policy selects, or selected. */
  function touchedBy({ gone, come }: PolicyDifference, at: Places): Set<string> {
    const keys = new Set<string>();
    holders ??= holdersIn(selected);
    for (const policy of gone) {
      for (const key of holders.get(policy) ?? []) keys.add(key);
      holders.delete(policy);
    }
    for (const policy of come) {
      const own = new Set<string>();
      for (const [key, each] of alike) if (selects(policy, each, at)) own.add(key);
      if (own.size > 0) holders.set(policy, own);
      for (const key of own) keys.add(key);
    }
    return keys;
  }

  /** Where pods are as they were. */
  function reselect(difference: PolicyDifference, at: Places): GroupDifference {
    const gone: PodGroup[] = [];
    const come: PodGroup[] = [];
    for (const key of touchedBy(difference, at)) {
      const { group, policies } = selected.get(key)!;
      const next = select(group.alike, changed(policies, difference, group.alike, at));
      selected.set(key, next);
      gone.push(group);
      come.push(next.group);
    }
    return {
      groups: Iterator.from(selected.values())
        .map((each) => each.group)
        .toArray(),
      gone,
      come,
    };
  }

  return {
    update(next, difference) {
      index.change(difference);
      if (next === places) return reselect(difference, next);
      const former = new Map(selected);
      if (places) reselect(difference, places);
      regroup(next);
      return compare(former, selected);
    },
  };
}

function holdersIn(selected: ReadonlyMap<string, Selected>): Map<Policy, Set<string>> {
  const holders = new Map<Policy, Set<string>>();
  for (const [key, { policies }] of selected)
    for (const policy of policies) {
      const keys = holders.get(policy) ?? new Set();
      holders.set(policy, keys.add(key));
    }
  return holders;
}

function compare(
  before: ReadonlyMap<string, Selected>,
  after: ReadonlyMap<string, Selected>,
): GroupDifference {
  const gone = [...before].filter(([key, { group }]) => after.get(key)?.group !== group);
  const come = [...after].filter(([key, { group }]) => before.get(key)?.group !== group);
  return {
    groups: [...after.values()].map(({ group }) => group),
    gone: gone.map(([, { group }]) => group),
    come: come.map(([, { group }]) => group),
  };
}

/** Groups whose pods are the same ones keep their object. */
function alikeIn({ pods }: Places, former: ReadonlyMap<string, Alike>): Map<string, Alike> {
  const members = new Map<string, WorldPod[]>();
  for (const pod of pods) {
    const key = `${pod.namespace} ${accountOf(pod)} ${labelsText(pod.labels)}`;
    const list = members.get(key);
    if (list) list.push(pod);
    else members.set(key, [pod]);
  }
  return new Map(
    [...members].map(([key, list]) => {
      const known = former.get(key);
      if (known?.pods.length === list.length && known.pods.every((pod, i) => pod === list[i]))
        return [key, known];
      const { namespace, labels } = list[0]!;
      return [key, { namespace, labels, serviceAccount: accountOf(list[0]!), pods: list }];
    }),
  );
}

function select(alike: Alike, policies: readonly Policy[]): Selected {
  const concernedBy = {
    ingress: policies.filter((policy) => policy.concerns.ingress),
    egress: policies.filter((policy) => policy.concerns.egress),
  };
  return { policies, group: { ...alike, alike, concernedBy } };
}

/** What selects a group after a change; asks nobody who selected it before. */
function changed(
  former: readonly Policy[],
  { gone, come }: PolicyDifference,
  alike: Alike,
  places: Places,
): Policy[] {
  const stay = former.filter((policy) => !gone.includes(policy));
  const fresh = come.filter((policy) => selects(policy, alike, places));
  return [...stay, ...fresh].sort((a, b) => comparePolicies(a.ref, b.ref));
}

const selects = ({ subject }: Policy, alike: Alike, places: Places): boolean =>
  selectsPod(places, subject, alike);

function createSubjectIndex() {
  const byNamespace = new Map<string, Set<Policy>>();
  const everywhere = new Set<Policy>();
  const placeOf = ({ subject: { namespace } }: Policy): Set<Policy> => {
    if (!('name' in namespace)) return everywhere;
    const known = byNamespace.get(namespace.name) ?? new Set();
    byNamespace.set(namespace.name, known);
    return known;
  };
  return {
    change({ gone, come }: PolicyDifference): void {
      for (const policy of gone) placeOf(policy).delete(policy);
      for (const policy of come) placeOf(policy).add(policy);
    },
    /** In the order of the scene. */
    selecting: (alike: Alike, places: Places): Policy[] =>
      [...(byNamespace.get(alike.namespace) ?? []), ...everywhere]
        .filter((policy) => selects(policy, alike, places))
        .sort((a, b) => comparePolicies(a.ref, b.ref)),
  };
}

export function labelsText(labels: Labels): string {
  return Object.keys(labels)
    .sort()
    .map((key) => `${key}=${labels[key]}`)
    .join(',');
}
