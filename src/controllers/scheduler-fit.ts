/** Whether a pod may go to a node, and if not, why not, in the words kubectl's users know. Pure. */
import { collide, type HostPort, hostPortsOf } from '../api/host-ports.ts';
import type { Node, Pod } from '../api/types.ts';

export interface NodeRoom {
  node: Node;
  /** Pods that it has, those just assigned included. */
  pods: number;
  capacity: number;
  /** Ports of the node that they have. */
  hostPorts: readonly HostPort[];
}

type PodSpec = NonNullable<Pod['spec']>;
type Toleration = NonNullable<PodSpec['tolerations']>[number];
type Taint = NonNullable<NonNullable<Node['spec']>['taints']>[number];
interface Expression {
  key: string;
  operator: string;
  values?: readonly string[];
}

/** Why not; undefined if it may. */
export function unfit(pod: Pod, { node, pods, capacity, hostPorts }: NodeRoom): string | undefined {
  const { spec } = pod;
  if (!isNodeReady(node)) return 'node(s) were not ready';
  if (node.spec?.unschedulable && !tolerates(spec, UNSCHEDULABLE)) return 'node(s) were unschedulable';
  const taint = node.spec?.taints?.find((one) => one.effect !== 'PreferNoSchedule' && !tolerates(spec, one));
  if (taint) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (!selects(spec, node)) return "node(s) didn't match Pod's node affinity/selector";
  if (pods >= capacity) return 'Too many pods';
  if (hostPortsOf(pod).some((port) => hostPorts.some((taken) => collide(port, taken))))
    return "node(s) didn't have free ports for the requested pod ports";
  return undefined;
}

const UNSCHEDULABLE: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

const isNodeReady = (node: Node): boolean =>
  !node.metadata.deletionTimestamp &&
  node.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;

function tolerates(spec: PodSpec | undefined, taint: Taint): boolean {
  return (spec?.tolerations ?? []).some((toleration) => covers(toleration, taint));
}

function covers({ key, operator, value, effect }: Toleration, taint: Taint): boolean {
  if (effect && effect !== taint.effect) return false;
  if (!key) return operator === 'Exists';
  if (key !== taint.key) return false;
  return operator === 'Exists' || (value ?? '') === (taint.value ?? '');
}

function selects(spec: PodSpec | undefined, node: Node): boolean {
  const labels = node.metadata.labels ?? {};
  const wanted = Object.entries(spec?.nodeSelector ?? {});
  if (!wanted.every(([key, value]) => labels[key] === value)) return false;
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return required.nodeSelectorTerms.some((term) => {
    const byLabel = term.matchExpressions ?? [];
    const byField = term.matchFields ?? [];
    // A term that asks for nothing selects nothing.
    if (byLabel.length + byField.length === 0) return false;
    const fields = { 'metadata.name': node.metadata.name };
    return byLabel.every((one) => matches(one, labels)) && byField.every((one) => matches(one, fields));
  });
}

function matches(
  { key, operator, values = [] }: Expression,
  labels: Readonly<Record<string, string>>,
): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

/** `0/2 nodes are available: 1 Too many pods, 1 node(s) were unschedulable.` */
export function explain(reasons: readonly string[]): string {
  const counts = Map.groupBy(reasons, (reason) => reason);
  const parts = [...counts].map(([reason, all]) => `${all.length} ${reason}`).sort();
  const why = parts.length > 0 ? `: ${parts.join(', ')}` : '';
  return `0/${reasons.length} nodes are available${why}.`;
}
