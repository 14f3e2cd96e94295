/** Which policies select which pods, computed once for all pods with equal labels in a namespace. */
import type { Labels } from '../api/selector.ts';
import type { Direction } from './decision.ts';
import type { Policy } from './model.ts';
import type { Scene } from './scene.ts';
import type { WorldPod } from './world.ts';

/** Pods that no selector can tell apart. */
export interface PodGroup {
  readonly namespace: string;
  readonly labels: Labels;
  readonly pods: readonly WorldPod[];
  /** Policies that isolate these pods, in the order of the scene. */
  readonly isolatedBy: Readonly<Record<Direction, readonly Policy[]>>;
}

export function groupPods(scene: Scene): PodGroup[] {
  const members = new Map<string, WorldPod[]>();
  for (const pod of scene.pods) {
    const key = `${pod.namespace} ${labelsText(pod.labels)}`;
    const list = members.get(key);
    if (list) list.push(pod);
    else members.set(key, [pod]);
  }
  const select = subjectIndex(scene);
  return [...members.values()].map((pods) => {
    const { namespace, labels } = pods[0]!;
    const selected = select(namespace, labels);
    return {
      namespace,
      labels,
      pods,
      isolatedBy: {
        ingress: selected.filter((policy) => policy.isolates.ingress),
        egress: selected.filter((policy) => policy.isolates.egress),
      },
    };
  });
}

function subjectIndex(scene: Scene): (namespace: string, labels: Labels) => Policy[] {
  const byNamespace = new Map<string, Policy[]>();
  const everywhere: Policy[] = [];
  for (const policy of scene.policies) {
    const { namespace } = policy.subject;
    if (!('name' in namespace)) everywhere.push(policy);
    else byNamespace.set(namespace.name, [...(byNamespace.get(namespace.name) ?? []), policy]);
  }
  return (namespace, labels) =>
    [...(byNamespace.get(namespace) ?? []), ...everywhere].filter(
      ({ subject }) =>
        subject.pods.selects(labels) &&
        ('name' in subject.namespace || subject.namespace.selector.selects(scene.namespaceLabels(namespace))),
    );
}

function labelsText(labels: Labels): string {
  return Object.keys(labels)
    .sort()
    .map((key) => `${key}=${labels[key]}`)
    .join(',');
}
