/**
 * Which addresses a pod is to have, as its annotations, its namespace's and the pools' selectors say: Cilium's pools,
 * Calico's fixed addresses, and addresses that come back with the pod. Pure.
 */
import type { CiliumPodIpPool } from '../../api/ipam-types.ts';
import { compileSelector } from '../../api/selector.ts';
import type { Namespace, Pod } from '../../api/types.ts';
import { HeddleError } from '../../lib/errors.ts';
import { type Family, tryCanonical } from '../../lib/ip.ts';
import { worldNamespace } from '../../policy/from-objects.ts';
import type { WorldNamespace } from '../../policy/world.ts';

const POOL = 'ipam.cilium.io/ip-pool';
const POOL_OF: Readonly<Record<Family, string>> = {
  4: 'ipam.cilium.io/ipv4-pool',
  6: 'ipam.cilium.io/ipv6-pool',
};
export const FIXED = 'cni.projectcalico.org/ipAddrs';
export const STICKY = 'heddle.dev/sticky-address';
/** Milliseconds that an address waits if nothing else is said. */
const STICKY_DEFAULT = 3_600_000;
const LONGEST = 7 * 24 * 3_600_000;

type Annotations = Readonly<Record<string, string>>;

/** A namespace as policies need it, with what it says about addresses. */
export interface AddressedNamespace extends WorldNamespace {
  readonly pools?: Annotations;
}

export function addressedNamespace(namespace: Namespace): AddressedNamespace {
  const pools = Object.entries(namespace.metadata.annotations ?? {}).filter(([name]) =>
    [POOL, POOL_OF[4], POOL_OF[6]].includes(name),
  );
  const world = worldNamespace(namespace);
  return pools.length === 0 ? world : { ...world, pools: Object.fromEntries(pools) };
}

export interface PodWishes {
  /** Absent: the pool `default`. */
  readonly pools?: Readonly<Record<Family, string>>;
  readonly addresses?: readonly string[];
  /** Milliseconds. */
  readonly sticky?: number;
}

/** @throws HeddleError `AddressWishBad`, `PoolAmbiguous` */
export function podWishes(
  pod: Pick<Pod, 'metadata'>,
  namespace: AddressedNamespace | undefined,
  pools: readonly CiliumPodIpPool[],
): PodWishes {
  const annotations = pod.metadata.annotations ?? {};
  const named = namedPools(annotations) ?? namedPools(namespace?.pools ?? {});
  const chosen = named ?? selectedPools(pod, namespace, pools);
  const addresses = fixedAddresses(annotations[FIXED]);
  const sticky = stickyTime(annotations[STICKY]);
  return {
    ...(chosen ? { pools: chosen } : {}),
    ...(addresses ? { addresses } : {}),
    ...(sticky === undefined ? {} : { sticky }),
  };
}

function namedPools(annotations: Annotations): PodWishes['pools'] {
  const both = annotations[POOL];
  const of = (family: Family) => annotations[POOL_OF[family]] ?? both;
  if (of(4) === undefined && of(6) === undefined) return undefined;
  return { 4: of(4) ?? 'default', 6: of(6) ?? 'default' };
}

function selectedPools(
  pod: Pick<Pod, 'metadata'>,
  namespace: AddressedNamespace | undefined,
  pools: readonly CiliumPodIpPool[],
): PodWishes['pools'] {
  const { name, namespace: space = '', labels = {} } = pod.metadata;
  const podLabels = { ...labels, 'io.kubernetes.pod.name': name, 'io.kubernetes.pod.namespace': space };
  const selecting = pools.filter(({ spec }) => {
    if (!spec?.podSelector && !spec?.namespaceSelector) return false;
    if (spec.podSelector && !compileSelector(spec.podSelector)(podLabels)) return false;
    return !spec.namespaceSelector || compileSelector(spec.namespaceSelector)(namespace?.labels ?? {});
  });
  const [first] = selecting;
  if (!first) return undefined;
  const of = (family: Family): string => {
    const having = selecting.filter(({ spec }) => spec?.[family === 4 ? 'ipv4' : 'ipv6'] !== undefined);
    const [one, other] = having.map(({ metadata }) => metadata.name).toSorted((a, b) => (a < b ? -1 : 1));
    if (other !== undefined)
      throw new HeddleError(
        'PoolAmbiguous',
        `the pools ${one} and ${other} both select the pod ${space}/${name} for IPv${family}: expected one`,
        { hint: `change a selector, or name the pool by the annotation ${POOL}` },
      );
    return one ?? first.metadata.name;
  };
  return { 4: of(4), 6: of(6) };
}

const bad = (name: string, value: string, expected: string): HeddleError =>
  new HeddleError('AddressWishBad', `the annotation ${name} is ${value}: expected ${expected}`, {
    hint: 'correct it and make the pod anew: it is read when the pod gets its network',
  });

/** Calico's form: a list in JSON, one address of a family. */
function fixedAddresses(text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined;
  const expected = 'a JSON list of addresses such as ["10.244.0.9"], at most one of each family';
  const canonical = listOf(text)?.map((one) => (typeof one === 'string' ? tryCanonical(one) : undefined));
  const families = canonical?.map((one) => one?.family);
  if (
    !canonical ||
    canonical.length === 0 ||
    families?.includes(undefined) ||
    new Set(families).size < canonical.length
  )
    throw bad(FIXED, text, expected);
  return canonical.flatMap((one) => one?.text ?? []);
}

function listOf(text: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const UNITS = { s: 1000, m: 60_000, h: 3_600_000 } as const;

function stickyTime(text: string | undefined): number | undefined {
  if (text === undefined || text === 'false') return undefined;
  if (text === 'true') return STICKY_DEFAULT;
  const parts = [...text.matchAll(/(\d{1,9})([smh])/g)];
  const time = parts.reduce(
    (sum, [, number, unit]) => sum + Number(number) * UNITS[unit as keyof typeof UNITS],
    0,
  );
  if (parts.map(([part]) => part).join('') !== text || time === 0 || time > LONGEST)
    throw bad(STICKY, text, 'true, false, or a time such as 30m or 24h, 168h at most');
  return time;
}
