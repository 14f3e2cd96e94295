/** What a pod's status says, in the words that controllers decide by. */
import { WEIGHT } from '../api/labels.ts';
import { RUNTIME_ANNOTATION } from '../api/runtime.ts';
import type { Pod } from '../api/types.ts';

export const isTerminating = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;

/** Has ended and will not start again. */
export const isFinished = (pod: Pod): boolean =>
  pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';

/** Counts as one of a controller's replicas. */
export const isActive = (pod: Pod): boolean => !isTerminating(pod) && !isFinished(pod);

const readyCondition = (pod: Pod) => pod.status?.conditions?.find((one) => one.type === 'Ready');

export const isReady = (pod: Pod): boolean => readyCondition(pod)?.status === 'True';

/** Milliseconds since 1970; undefined while the pod is not ready. */
export function readySince(pod: Pod): number | undefined {
  const condition = readyCondition(pod);
  if (condition?.status !== 'True') return undefined;
  return condition.lastTransitionTime ? Date.parse(condition.lastTransitionTime) : 0;
}

/** Milliseconds until a ready pod has been so for `minReadySeconds`; 0 if it has; undefined if not ready. */
export function untilAvailable(pod: Pod, minReadySeconds: number, now: number): number | undefined {
  const since = readySince(pod);
  if (since === undefined) return undefined;
  return minReadySeconds === 0 ? 0 : Math.max(0, since + minReadySeconds * 1000 - now);
}

/** Of a pod on the wire, what controllers read: the rest is left to the collector. */
export function keepPod(pod: Pod): Pod {
  const { name, namespace, uid, labels, annotations, ownerReferences, finalizers } = pod.metadata;
  const { resourceVersion, generation, creationTimestamp, deletionTimestamp } = pod.metadata;
  const kept = Object.entries(annotations ?? {}).filter(([key]) => KEPT_ANNOTATIONS.has(key));
  const { spec, status } = pod;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      uid,
      labels,
      ownerReferences,
      finalizers,
      generation,
      resourceVersion,
      creationTimestamp,
      deletionTimestamp,
      ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }),
    },
    ...(spec && { spec: keepSpec(spec) }),
    status: {
      phase: status?.phase,
      podIP: status?.podIP,
      podIPs: status?.podIPs,
      conditions: status?.conditions?.filter((one) => KEPT_CONDITIONS.has(one.type)),
    },
  };
}

export const DELETION_COST = 'controller.kubernetes.io/pod-deletion-cost';
const KEPT_ANNOTATIONS = new Set([DELETION_COST, WEIGHT, RUNTIME_ANNOTATION]);
const KEPT_CONDITIONS = new Set(['Ready', 'PodScheduled']);

function keepSpec(spec: NonNullable<Pod['spec']>): NonNullable<Pod['spec']> {
  const { nodeName, nodeSelector, affinity, tolerations, schedulerName, schedulingGates } = spec;
  const { hostname, subdomain, hostNetwork } = spec;
  return {
    nodeName,
    nodeSelector,
    affinity,
    tolerations,
    schedulerName,
    schedulingGates,
    hostname,
    subdomain,
    hostNetwork,
    ...(spec.resources && { resources: spec.resources }),
    ...(spec.overhead && { overhead: spec.overhead }),
    containers: spec.containers.map(keepContainer),
    initContainers: keepInit(spec.initContainers),
  };
}

type Container = NonNullable<Pod['spec']>['containers'][number];

/** Sidecars, and what others ask for before the containers start: nothing reaches their ports. */
function keepInit(containers: Container[] | undefined): Container[] | undefined {
  return containers
    ?.filter((one) => one.restartPolicy === 'Always' || one.resources?.requests)
    .map(({ ports, ...one }) => keepContainer(one.restartPolicy === 'Always' ? { ...one, ports } : one));
}

function keepContainer({ name, ports, restartPolicy, resources }: Container): Container {
  const requests = resources?.requests;
  const limits = resources?.limits;
  return {
    name,
    ports,
    ...(restartPolicy && { restartPolicy }),
    ...((requests || limits) && { resources: { ...(requests && { requests }), ...(limits && { limits }) } }),
  };
}
