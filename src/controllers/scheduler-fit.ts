/** Whether a pod may go to a node, and if not, why not, in the words kubectl's users know. Pure. */
import { collide, type HostPort, hostPortsOf } from '../api/host-ports.ts';
import { qosClass } from '../api/pod-defaults.ts';
import type { Amounts } from '../api/pod-requests.ts';
import type { Node, Pod } from '../api/types.ts';

export interface NodeRoom {
  node: Node;
  /** Pods that it has, those just assigned included. */
  pods: number;
  capacity: number;
  /** Of resources: what pods may ask for together, and what its pods ask for. */
  allocatable: Amounts;
  asked: Map<string, number>;
  /** What of it a pod would take. */
  takes(pod: Pod): Amounts;
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

/** Why not, in Kubernetes' words: by what was looked at first, and of resources every one that is short; empty if it may. */
export function unfit(pod: Pod, room: NodeRoom): readonly string[] {
  const { node, hostPorts } = room;
  const { spec } = pod;
  if (!isNodeReady(node)) return ['node(s) were not ready'];
  if (node.spec?.unschedulable && !tolerates(spec, UNSCHEDULABLE)) return ['node(s) were unschedulable'];
  const taint = node.spec?.taints?.find((one) => one.effect !== 'PreferNoSchedule' && !tolerates(spec, one));
  if (taint) return [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`];
  if (!selects(spec, node)) return ["node(s) didn't match Pod's node affinity/selector"];
  if (hostPortsOf(pod).some((port) => hostPorts.some((taken) => collide(port, taken))))
    return ["node(s) didn't have free ports for the requested pod ports"];
  return shortages(pod, room);
}

function shortages(pod: Pod, { pods, capacity, allocatable, asked, takes }: NodeRoom): readonly string[] {
  const short = pods >= capacity ? ['Too many pods'] : NONE;
  const requests = takes(pod);
  if (requests.size === 0) return short;
  const names = [...requests].flatMap(([name, amount]) =>
    amount > (allocatable.get(name) ?? 0) - (asked.get(name) ?? 0) ? [`Insufficient ${name}`] : [],
  );
  return names.length === 0 ? short : [...short, ...names];
}

const NONE: readonly string[] = [];
const UNSCHEDULABLE: Taint = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

const MEMORY_PRESSURE = 'node.kubernetes.io/memory-pressure';

const isNodeReady = (node: Node): boolean =>
  !node.metadata.deletionTimestamp &&
  node.status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true;

function tolerates(spec: PodSpec | undefined, taint: Taint): boolean {
  if ((spec?.tolerations ?? []).some((toleration) => covers(toleration, taint))) return true;
  // What asks for memory or processors is taken to get by: Kubernetes' control plane gives it this toleration.
  return taint.key === MEMORY_PRESSURE && spec !== undefined && qosClass(spec) !== 'BestEffort';
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

/** Reasons of every node that was looked at: `0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable.` */
export function explain(reasons: readonly (readonly string[])[]): string {
  if (reasons.length === 0) return 'no nodes available to schedule pods';
  const counts = Map.groupBy(reasons.flat(), (reason) => reason);
  const parts = [...counts].map(([reason, all]) => `${all.length} ${reason}`).sort();
  return `0/${reasons.length} nodes are available: ${parts.join(', ')}.`;
}
