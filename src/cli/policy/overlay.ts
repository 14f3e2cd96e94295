/** The cluster as it would be with files applied: a changed workload changes the pods that it has. */
import type { KubeObject, Pod } from '../../api/types.ts';
import {
  groupOf,
  isPassingLabel,
  isWorkloadTemplate,
  podsOwner,
  templateOf,
} from '../../policy/analyse/object-kinds.ts';

/**
 * Of one kind, namespace and name the file's object counts. Live pods of a workload in the files keep their name,
 * addresses and owner, and take labels, ports and network from its template; the workload is then left out.
 * @param owners live ReplicaSets and the like: what stands between pods and workloads
 */
export function overlay(
  live: readonly KubeObject[],
  files: readonly KubeObject[],
  owners: readonly KubeObject[],
): KubeObject[] {
  const idOf = (namespace: string | undefined, kind: string, name: string) =>
    `${namespace ?? 'default'} ${kind} ${name}`;
  const ownId = ({ kind, metadata }: KubeObject) => idOf(metadata.namespace, kind, metadata.name);
  const templates = new Map(files.filter(isWorkloadTemplate).map((each) => [ownId(each), each]));
  const between = new Map(owners.map((each) => [ownId(each), each]));
  const used = new Set<KubeObject>();
  const templateFor = (pod: KubeObject): KubeObject | undefined => {
    let object: KubeObject | undefined = pod;
    // A chain of owners ends after three, whatever the cluster says.
    for (let depth = 0; object && depth < 4; depth++) {
      const owner = podsOwner(object);
      const id: string | undefined = owner && idOf(pod.metadata.namespace, owner.kind, owner.name);
      const found: KubeObject | undefined = id === undefined ? undefined : templates.get(id);
      if (found) return found;
      object = id === undefined ? undefined : between.get(id);
    }
    return undefined;
  };
  const changed = live.map((object) => {
    if (object.kind !== 'Pod' || groupOf(object) !== '') return object;
    const template = templateFor(object);
    if (!template) return object;
    used.add(template);
    return fromTemplate(object as Pod, template);
  });
  return [...changed, ...files.filter((each) => !used.has(each))];
}

function fromTemplate(pod: Pod, owner: KubeObject): KubeObject {
  const { metadata, spec } = templateOf(owner) ?? {};
  const kept = Object.entries(pod.metadata.labels ?? {}).filter(([key]) => isPassingLabel(key));
  return {
    ...pod,
    metadata: { ...pod.metadata, labels: { ...Object.fromEntries(kept), ...metadata?.labels } },
    spec: { ...spec, nodeName: pod.spec?.nodeName },
  };
}
