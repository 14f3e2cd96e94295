/** Which node each waiting pod gets: the replicas of one owner apart, then the load even. Pure. */
import { hostPortsOf } from '../api/host-ports.ts';
import { amountsOf, podRequests } from '../api/pod-requests.ts';
import type { PodTakes } from '../api/pod-room.ts';
import type { Node, Pod } from '../api/types.ts';
import { controllerOf } from './owner.ts';
import { isFinished } from './pods.ts';
import { type NodeRoom, explain, unfit } from './scheduler-fit.ts';

export interface SchedulerView {
  nodes: readonly Node[];
  pods: readonly Pod[];
  /** Node by uid of pods that were assigned, but that the copy does not show so yet. */
  assumed: ReadonlyMap<string, string>;
  /** What of a node's room a pod takes. Default: what it requests. */
  takes?: PodTakes | undefined;
}

export type Placement = { pod: Pod; node: string } | { pod: Pod; node: undefined; why: string };

const DEFAULT_CAPACITY = 110;

/** Pods to be placed by us that have no node yet, oldest first. */
function waitingPods({ pods, assumed }: Pick<SchedulerView, 'pods' | 'assumed'>): Pod[] {
  return pods
    .filter(({ metadata, spec, ...pod }) => {
      if (spec?.nodeName || metadata.deletionTimestamp || assumed.has(metadata.uid ?? '')) return false;
      if (spec?.schedulingGates?.length || isFinished({ metadata, spec, ...pod })) return false;
      return (spec?.schedulerName ?? 'default-scheduler') === 'default-scheduler';
    })
    .sort(
      (a, b) =>
        (a.metadata.creationTimestamp ?? '').localeCompare(b.metadata.creationTimestamp ?? '') ||
        (a.metadata.name < b.metadata.name ? -1 : 1),
    );
}

export function planPlacements(view: SchedulerView): Placement[] {
  const { takes = podRequests } = view;
  const rooms = new Map(view.nodes.map((node) => [node.metadata.name, roomOf(node, takes)] as const));
  const spread = new Map<string, Map<string, number>>();
  const count = (pod: Pod, node: string) => {
    const room = rooms.get(node);
    if (!room) return;
    room.pods++;
    for (const [name, amount] of room.takes(pod)) room.asked.set(name, (room.asked.get(name) ?? 0) + amount);
    const ports = hostPortsOf(pod);
    if (ports.length > 0) room.hostPorts = [...room.hostPorts, ...ports];
    const perNode = spread.get(groupOf(pod)) ?? new Map<string, number>();
    perNode.set(node, (perNode.get(node) ?? 0) + 1);
    spread.set(groupOf(pod), perNode);
  };
  for (const pod of view.pods) {
    const node = pod.spec?.nodeName ?? view.assumed.get(pod.metadata.uid ?? '');
    if (node && !isFinished(pod)) count(pod, node);
  }
  return waitingPods(view).map((pod) => {
    const choice = choose(pod, [...rooms.values()], spread.get(groupOf(pod)));
    if (choice.node) count(pod, choice.node);
    return { pod, ...choice };
  });
}

function roomOf(node: Node, takes: PodTakes): NodeRoom {
  const declared = Number(node.status?.allocatable?.['pods'] ?? Number.NaN);
  return {
    node,
    pods: 0,
    capacity: Number.isFinite(declared) ? declared : DEFAULT_CAPACITY,
    allocatable: allocatableOf(node),
    asked: new Map(),
    takes: (pod) => takes(pod, node.metadata.name),
    hostPorts: [],
  };
}

const read = new WeakMap<object, ReturnType<typeof amountsOf>>();

/** Of a node that is looked at in many passes it is read once. */
function allocatableOf({ status }: Node): ReturnType<typeof amountsOf> {
  const told = status?.allocatable;
  if (!told) return amountsOf(undefined);
  const amounts = read.get(told) ?? amountsOf(told);
  read.set(told, amounts);
  return amounts;
}

/** Pods that are to be apart: of one controller, else of the same labels. */
function groupOf({ metadata }: Pod): string {
  const uid = controllerOf(metadata)?.uid;
  return uid ?? `${metadata.namespace} ${JSON.stringify(metadata.labels ?? {})}`;
}

function choose(
  pod: Pod,
  rooms: readonly NodeRoom[],
  siblings: ReadonlyMap<string, number> | undefined,
): { node: string } | { node: undefined; why: string } {
  const reasons: (readonly string[])[] = [];
  let best: { node: string; score: readonly [number, number] } | undefined;
  for (const room of rooms) {
    const why = unfit(pod, room);
    if (why.length > 0) {
      reasons.push(why);
      continue;
    }
    const node = room.node.metadata.name;
    const score = [siblings?.get(node) ?? 0, room.pods] as const;
    if (!best || isLess([...score, node], [...best.score, best.node])) best = { node, score };
  }
  return best ? { node: best.node } : { node: undefined, why: explain(reasons) };
}

function isLess(a: readonly (number | string)[], b: readonly (number | string)[]): boolean {
  for (const [i, value] of a.entries()) if (value !== b[i]) return value < b[i]!;
  return false;
}
