/** Pods by name and by address, in a world that changes a little at a time. */
import { tryCanonical } from '../lib/ip.ts';
import { compareText } from './model.ts';
import { podKey, type WorldPod } from './world.ts';

export interface PodDifference {
  readonly gone: readonly WorldPod[];
  readonly come: readonly WorldPod[];
  /** In canonical text: another pod has it now, or none, or one for the first time. */
  readonly addresses: ReadonlySet<string>;
}

export interface PodDirectory {
  /** With an address of their own, ordered by key. */
  readonly pods: readonly WorldPod[];
  byKey(key: string): WorldPod | undefined;
  /** Of two owners the first by key. @param address in canonical text */
  at(address: string): WorldPod | undefined;
  /** Undefined: the change is too great to be told, or names are not unique; a new directory has to be made. */
  change(pods: readonly WorldPod[]): PodDifference | undefined;
}

/** More changes than this are as many as a new directory. */
const FEW = 256;

/** Of pods with the same name the last counts. */
export function createPodDirectory(all: readonly WorldPod[]): PodDirectory {
  let given = all;
  const byKey = new Map(all.map((pod) => [podKey(pod), pod]));
  const isUnique = byKey.size === all.length;
  const keyed = [...byKey].filter(([, pod]) => !isOfNode(pod)).sort(([a], [b]) => compareText(a, b));
  let pods: readonly WorldPod[] = keyed.map(([, pod]) => pod);
  const owners = new Map<string, WorldPod | WorldPod[]>();

  function own(pod: WorldPod): void {
    for (const address of addressTexts(pod)) {
      const known = owners.get(address);
      if (!known || known === pod) owners.set(address, pod);
      else if (!Array.isArray(known)) owners.set(address, [known, pod].sort(byName));
      else if (!known.includes(pod)) known.splice(0, known.length, ...[...known, pod].sort(byName));
    }
  }
  function disown(pod: WorldPod): void {
    for (const address of addressTexts(pod)) {
      const known = owners.get(address);
      if (known === pod) owners.delete(address);
      else if (Array.isArray(known)) {
        const others = known.filter((each) => each !== pod);
        owners.set(address, others.length === 1 ? others[0]! : others);
      }
    }
  }
  const at = (address: string): WorldPod | undefined => {
    const known = owners.get(address);
    return Array.isArray(known) ? known[0] : known;
  };
  for (const pod of pods) own(pod);

  return {
    get pods() {
      return pods;
    },
    byKey: (key) => byKey.get(key),
    at,
    change(next) {
      if (!isUnique) return undefined;
      const { gone, come } = difference(given, next);
      if (gone.length + come.length > FEW) return undefined;
      for (const pod of gone) byKey.delete(podKey(pod));
      if (come.some((pod) => byKey.has(podKey(pod)))) return undefined;
      for (const pod of come) byKey.set(podKey(pod), pod);
      if (byKey.size !== next.length) return undefined;
      given = next;
      const addresses = new Set([...gone, ...come].filter((pod) => !isOfNode(pod)).flatMap(addressTexts));
      const before = new Map([...addresses].map((address) => [address, at(address)]));
      const [left, joined] = [gone, come].map((list) => list.filter((pod) => !isOfNode(pod)));
      for (const pod of left!) disown(pod);
      for (const pod of joined!) own(pod);
      pods = merged(pods, left!, joined!);
      for (const [address, owner] of before) if (owner === at(address)) addresses.delete(address);
      return { gone: left!, come: joined!, addresses };
    },
  };
}

/** It is its node. */
const isOfNode = ({ hostNetwork }: WorldPod): boolean => hostNetwork === true;

const byName = (a: WorldPod, b: WorldPod): number => compareText(podKey(a), podKey(b));

const texts = new WeakMap<WorldPod, readonly string[]>();

/** In canonical text; what is no address stays as it is. Worked out once, as pods are not changed in place. */
export function addressTexts(pod: WorldPod): readonly string[] {
  const addresses = texts.get(pod) ?? pod.addresses.map((text) => tryCanonical(text)?.text ?? text);
  texts.set(pod, addresses);
  return addresses;
}

/** What is in one list alone. Lists are most alike at their beginnings and ends. */
export function difference<T>(before: readonly T[], after: readonly T[]): { gone: T[]; come: T[] } {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let [end, last] = [before.length, after.length];
  while (end > start && last > start && before[end - 1] === after[last - 1]) {
    end--;
    last--;
  }
  const [old, fresh] = [before.slice(start, end), after.slice(start, last)];
  const [oldSet, freshSet] = [new Set(old), new Set(fresh)];
  return { gone: old.filter((each) => !freshSet.has(each)), come: fresh.filter((each) => !oldSet.has(each)) };
}

/** @param pods ordered by key, as the result is */
export function merged(
  pods: readonly WorldPod[],
  gone: readonly WorldPod[],
  come: readonly WorldPod[],
): readonly WorldPod[] {
  const without = new Set(gone);
  const list = gone.length === 0 ? [...pods] : pods.filter((pod) => !without.has(pod));
  for (const pod of come) list.splice(placeOf(list, podKey(pod)), 0, pod);
  return list;
}

function placeOf(pods: readonly WorldPod[], key: string): number {
  let [low, high] = [0, pods.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (podKey(pods[middle]!) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
