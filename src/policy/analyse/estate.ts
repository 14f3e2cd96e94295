/** What whole-world questions are asked of: a World, and which of its pods belong together. */
import type { Labels } from '../../api/selector.ts';
import { compareText } from '../model.ts';
import type { World, WorldPod } from '../world.ts';

export interface Estate {
  readonly world: World;
  /** Ordered by (namespace, name, kind). Each pod of the world is in one. */
  readonly workloads: readonly Workload[];
}

export interface WorkloadRef {
  readonly namespace: string;
  readonly name: string;
  readonly kind: string;
}

/** Pods with one direct owner, or one pod without. */
export interface Workload extends WorkloadRef {
  readonly pods: readonly WorldPod[];
  /** Labels by which its owner finds its pods, where it says them. */
  readonly selector?: Labels | undefined;
}

/** `shop/cart (Deployment)` */
export const workloadText = ({ namespace, name, kind }: WorkloadRef): string =>
  `${namespace}/${name} (${kind})`;

export const workloadKey = ({ namespace, name, kind }: WorkloadRef): string => `${namespace}/${kind}/${name}`;

export const compareWorkloads = (a: WorkloadRef, b: WorkloadRef): number =>
  compareText(a.namespace, b.namespace) || compareText(a.name, b.name) || compareText(a.kind, b.kind);

export interface Owner {
  readonly kind: string;
  readonly name: string;
  readonly selector?: Labels | undefined;
}

/** Groups pods by what `ownerOf` says; a pod without an owner is a workload of its own, of kind Pod. */
export function createEstate(world: World, ownerOf: (pod: WorldPod) => Owner | undefined): Estate {
  const found = new Map<string, Workload & { pods: WorldPod[] }>();
  for (const pod of world.pods) {
    const { kind, name, selector } = ownerOf(pod) ?? { kind: 'Pod', name: pod.name };
    const key = workloadKey({ namespace: pod.namespace, kind, name });
    const known = found.get(key);
    if (known) known.pods.push(pod);
    else found.set(key, { namespace: pod.namespace, name, kind, pods: [pod], selector });
  }
  return { world, workloads: [...found.values()].sort(compareWorkloads) };
}

/**
 * Workloads that a user's words mean: of this name, else with a pod of this name, else the ReplicaSets of a Deployment
 * of this name, which own its pods in a running cluster.
 */
export function workloadsCalled(
  { workloads }: Estate,
  { namespace, name, kind }: { namespace: string; name: string; kind?: string | undefined },
): Workload[] {
  const here = workloads.filter((each) => each.namespace === namespace);
  const isKind = (each: Workload) => kind === undefined || each.kind.toLowerCase() === kind.toLowerCase();
  const isDeployment = kind === undefined || kind.toLowerCase() === 'deployment';
  const tests: ((each: Workload) => boolean)[] = [
    (each) => isKind(each) && each.name === name,
    (each) => isKind(each) && each.pods.some((pod) => pod.name === name),
    (each) => isDeployment && each.kind === 'ReplicaSet' && isRevision(each.name, name),
  ];
  for (const test of tests) {
    const found = here.filter(test);
    if (found.length > 0) return found;
  }
  return [];
}

/** `cart-5d8f7c9b6`: the hash has no dash. */
const isRevision = (replicaSet: string, deployment: string): boolean =>
  replicaSet.startsWith(`${deployment}-`) && /^[a-z0-9]+$/.test(replicaSet.slice(deployment.length + 1));
