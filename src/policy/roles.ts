/**
 * Which policies select which pods, computed once for all pods with equal labels in a namespace, and again only
 * where a policy or the pods have changed. What is as it was is the very same object as before.
 */
import type { Labels } from '../api/selector.ts';
import type { Direction } from './decision.ts';
import { comparePolicies, type Policy } from './model.ts';
import { accountOf, selectsPod } from './peers.ts';
import { merged, type PodDifference } from './pod-directory.ts';
import { sameItems } from './policy-list.ts';
import type { Places, Scene } from './scene.ts';
import type { WorldPod } from './world.ts';

/** Pods that no selector can tell apart. */
export interface Alike {
  /** The same text as long as there are such pods. */
  readonly key: string;
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
  /**
   * `places` are compared by identity.
   *
   * @param pods how they differ from the ones before; undefined: by more than pods, or it is not known
   */
  update(places: Places, policies: PolicyDifference, pods?: PodDifference): GroupDifference;
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
  let selected = new Map<string, Selected>();
  /** Keys of the groups that each policy selects; made when it is first asked for after all pods have changed. */
  let holders: Map<Policy, Set<string>> | undefined;
  /** Those that this update has changed, as they were. */
  let before = new Map<string, Selected | undefined>();

  function set(key: string, next: Selected | undefined): void {
    if (!before.has(key)) before.set(key, selected.get(key));
    if (next) selected.set(key, next);
    else selected.delete(key);
  }

  /** The selection of pods that are alike holds for whoever is in the group; labels of namespaces are part of it. */
  function regroup(next: Places): void {
    holders = undefined;
    const isSame = places !== undefined && isSameBelongings(places, next);
    const members = new Map<string, WorldPod[]>();
    for (const pod of next.pods) {
      const key = groupKey(pod);
      const list = members.get(key);
      if (list) list.push(pod);
      else members.set(key, [pod]);
    }
    for (const key of selected.keys()) if (!members.has(key)) set(key, undefined);
    for (const [key, pods] of members) {
      const known = selected.get(key);
      const alike = known && sameItems(known.group.pods, pods) ? known.group.alike : alikeOf(key, pods);
      if (!known || !isSame || known.group.alike !== alike)
        set(key, select(alike, (isSame && known?.policies) || index.selecting(alike, next)));
    }
  }

  /** Where some pods have come and gone, and nothing else. */
  function regroupSome(next: Places, { gone, come }: PodDifference): void {
    const left = Map.groupBy(gone, groupKey);
    const joined = Map.groupBy(come, groupKey);
    for (const key of new Set([...left.keys(), ...joined.keys()])) {
      const known = selected.get(key);
      const pods = merged(known?.group.pods ?? [], left.get(key) ?? [], joined.get(key) ?? []);
      if (pods.length === 0) {
        for (const policy of known?.policies ?? []) holders?.get(policy)?.delete(key);
        set(key, undefined);
        continue;
      }
      const alike = alikeOf(key, pods);
      const policies = known?.policies ?? index.selecting(alike, next);
      if (!known) for (const policy of policies) if (holders) addTo(holders, policy, key);
      set(key, select(alike, policies));
    }
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
      for (const [key, { group }] of selected) if (selects(policy, group, at)) own.add(key);
      if (own.size > 0) holders.set(policy, own);
      for (const key of own) keys.add(key);
    }
    return keys;
  }

  /** Where pods are as they were. */
  function reselect(difference: PolicyDifference, at: Places): void {
    if (difference.gone.length + difference.come.length === 0) return;
    for (const key of touchedBy(difference, at)) {
      const { group, policies } = selected.get(key)!;
      set(key, select(group.alike, changed(policies, difference, group.alike, at)));
    }
  }

  return {
    update(next, difference, pods) {
      index.change(difference);
      before = new Map();
      if (places) reselect(difference, places);
      if (places && pods && isSameBelongings(places, next)) regroupSome(next, pods);
      else if (places !== next) regroup(next);
      places = next;
      const groupsOf = (list: Iterable<Selected | undefined>) =>
        [...list].flatMap((each) => (each ? [each.group] : []));
      const differing = [...before].filter(([key, was]) => selected.get(key)?.group !== was?.group);
      return {
        groups: groupsOf(selected.values()),
        gone: groupsOf(differing.map(([, was]) => was)),
        come: groupsOf(differing.map(([key]) => selected.get(key))),
      };
    },
  };
}

const isSameBelongings = (a: Places, b: Places): boolean =>
  a.namespaces === b.namespaces && a.accounts === b.accounts;

function holdersIn(selected: ReadonlyMap<string, Selected>): Map<Policy, Set<string>> {
  const holders = new Map<Policy, Set<string>>();
  for (const [key, { policies }] of selected) for (const policy of policies) addTo(holders, policy, key);
  return holders;
}

function addTo(holders: Map<Policy, Set<string>>, policy: Policy, key: string): void {
  const keys = holders.get(policy);
  if (keys) keys.add(key);
  else holders.set(policy, new Set([key]));
}

/** Of all that selectors see of a pod. Worked out once, as pods are not changed in place. */
export function groupKey(pod: WorldPod): string {
  const key = keys.get(pod) ?? `${pod.namespace} ${accountOf(pod)} ${labelsText(pod.labels)}`;
  keys.set(pod, key);
  return key;
}

const keys = new WeakMap<WorldPod, string>();

function alikeOf(key: string, pods: readonly WorldPod[]): Alike {
  const { namespace, labels } = pods[0]!;
  return { key, namespace, labels, serviceAccount: accountOf(pods[0]!), pods };
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

/** One text for equal labels, whatever is in them. */
export const labelsText = (labels: Labels): string =>
  JSON.stringify(
    Object.keys(labels)
      .sort()
      .map((key) => [key, labels[key]]),
  );
