/** The downward API: what a pod may learn of itself. Pure. */
import { quantityValue } from '../../api/quantity.ts';
import type { Pod } from '../../api/types.ts';

type Container = NonNullable<Pod['spec']>['containers'][number];

export interface FieldFacts {
  addresses: readonly string[];
  hostAddresses: readonly string[];
  /** What a limit that is not set stands for: the node's. */
  node: { cpus: number; memory: number };
}

const joined = (map: Record<string, string> | undefined): string =>
  Object.keys(map ?? {})
    .toSorted()
    .map((key) => `${key}=${JSON.stringify(map?.[key])}`)
    .join('\n');

/** @throws Error that names a path which is none */
export function fieldValue(pod: Pod, path: string, facts: FieldFacts): string {
  const { metadata, spec } = pod;
  const one = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (one) return metadata[one[1] as 'labels' | 'annotations']?.[one[2]!] ?? '';
  const values: Record<string, () => string | undefined> = {
    'metadata.name': () => metadata.name,
    'metadata.namespace': () => metadata.namespace,
    'metadata.uid': () => metadata.uid,
    'metadata.labels': () => joined(metadata.labels),
    'metadata.annotations': () => joined(metadata.annotations),
    'spec.nodeName': () => spec?.nodeName,
    'spec.serviceAccountName': () => spec?.serviceAccountName,
    'status.hostIP': () => facts.hostAddresses[0],
    'status.hostIPs': () => facts.hostAddresses.join(','),
    'status.podIP': () => facts.addresses[0],
    'status.podIPs': () => facts.addresses.join(','),
  };
  const value = Object.hasOwn(values, path) ? values[path] : undefined;
  if (!value) throw new Error(`fieldRef.fieldPath "${path}" is not a field that a pod may see`);
  return value() ?? '';
}

interface ResourceRef {
  containerName?: string;
  resource: string;
  divisor?: string | number;
}

/** Rounded up to whole divisors, as Kubernetes does. @throws Error */
export function resourceValue(
  pod: Pod,
  own: Container | undefined,
  ref: ResourceRef,
  facts: FieldFacts,
): string {
  const all = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  const container = ref.containerName ? all.find(({ name }) => name === ref.containerName) : own;
  if (!container)
    throw new Error(`resourceFieldRef names container "${ref.containerName ?? ''}", which is not there`);
  const [kind, name = ''] = ref.resource.split('.', 2);
  if ((kind !== 'limits' && kind !== 'requests') || name === '')
    throw new Error(`resourceFieldRef.resource "${ref.resource}": expected limits.NAME or requests.NAME`);
  const asked = container.resources?.[kind]?.[name];
  const value = asked === undefined ? fallback(kind, name, facts) : Number(quantityValue(String(asked)));
  const divisor = Number(quantityValue(String(ref.divisor ?? '1'))) || 1;
  return String(Math.ceil(value / divisor));
}

function fallback(kind: 'limits' | 'requests', name: string, { node }: FieldFacts): number {
  if (kind === 'requests') return 0;
  return name === 'cpu' ? node.cpus : name === 'memory' ? node.memory : 0;
}
