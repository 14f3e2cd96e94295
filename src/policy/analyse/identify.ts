/** How a policy would name a workload, or somebody outside: the peers and subjects that Heddle itself writes. */
import { NAMESPACE_NAME } from '../../api/labels.ts';
import { compileSelector, type LabelSelector, type Labels } from '../../api/selector.ts';
import { formatAddress } from '../../lib/ip.ts';
import type { End } from '../scene.ts';
import type { WorldPod } from '../world.ts';
import type { Estate, Workload } from './estate.ts';
import { isPassingLabel } from './object-kinds.ts';

export interface PeerInput {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: { readonly cidr: string };
}

/**
 * Labels that select the pods of the workload, and of its namespace no others if that can be: its owner's selector,
 * else what is common to all its pods.
 */
export function labelsOf({ world }: Estate, { namespace, pods, selector }: Workload): Labels {
  const others = world.pods.filter((pod) => pod.namespace === namespace && !pods.includes(pod));
  const shared = commonLabels(pods);
  const choices = [...(selector ? [selector] : []), withoutPassing(shared), shared];
  const isExact = (labels: Labels): boolean => {
    const selects = compileSelector({ matchLabels: labels });
    return pods.every((pod) => selects(pod.labels)) && !others.some((pod) => selects(pod.labels));
  };
  return choices.find(isExact) ?? withoutPassing(shared);
}

function commonLabels(pods: readonly WorldPod[]): Labels {
  const [first, ...rest] = pods;
  return Object.fromEntries(
    Object.entries(first?.labels ?? {}).filter(([key, value]) =>
      rest.every((pod) => pod.labels[key] === value),
    ),
  );
}

const withoutPassing = (labels: Labels): Labels =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => !isPassingLabel(key)));

/** An empty selector is every pod of the namespace. */
export const selectorOfLabels = (labels: Labels): LabelSelector =>
  Object.keys(labels).length === 0 ? {} : { matchLabels: labels };

/** A workload as a peer of rules in `namespace`. */
export function workloadPeer(estate: Estate, workload: Workload, namespace: string): PeerInput {
  const podSelector = selectorOfLabels(labelsOf(estate, workload));
  if (workload.namespace === namespace) return { podSelector };
  return { namespaceSelector: { matchLabels: { [NAMESPACE_NAME]: workload.namespace } }, podSelector };
}

/** Undefined for a node without a known address. */
export function endPeer(estate: Estate, end: End, namespace: string): PeerInput | undefined {
  if (end.type === 'pod') {
    const workload = workloadOfPod(estate, end.pod);
    return workload && workloadPeer(estate, workload, namespace);
  }
  if (!end.address) return undefined;
  return { ipBlock: { cidr: `${formatAddress(end.address)}/${end.address.family === 4 ? 32 : 128}` } };
}

export const workloadOfPod = ({ workloads }: Estate, pod: WorldPod): Workload | undefined =>
  workloads.find(
    (each) => each.namespace === pod.namespace && each.pods.some(({ name }) => name === pod.name),
  );
