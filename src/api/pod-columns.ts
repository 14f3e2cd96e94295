/** The words that `kubectl get pods` shows for a pod's state. */
import type { IContainerStatus } from 'kubernetes-models/v1/ContainerStatus';
import { age, ageColumn, joined, nameColumn, text } from './columns.ts';
import type { Column } from './resource.ts';
import type { Pod } from './types.ts';

/** An init container that goes on running beside the others. */
function isSidecar(pod: Pod, name: string): boolean {
  return pod.spec?.initContainers?.find((c) => c.name === name)?.restartPolicy === 'Always';
}

/** What the init containers make of the state; undefined once they are done. */
function initState(pod: Pod): string | undefined {
  const statuses = pod.status?.initContainerStatuses ?? [];
  for (const [i, status] of statuses.entries()) {
    const { terminated, waiting } = status.state ?? {};
    if (terminated?.exitCode === 0) continue;
    if (isSidecar(pod, status.name) && status.started) continue;
    if (terminated) return `Init:${terminated.reason || exitText(terminated)}`;
    if (waiting?.reason && waiting.reason !== 'PodInitializing') return `Init:${waiting.reason}`;
    return `Init:${i}/${pod.spec?.initContainers?.length ?? statuses.length}`;
  }
  return undefined;
}

const exitText = (terminated: { signal?: number; exitCode: number }): string =>
  terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode}`;

function containerState(statuses: readonly IContainerStatus[], reason: string): string {
  let result = reason;
  let running = false;
  for (const status of [...statuses].reverse()) {
    const { waiting, terminated } = status.state ?? {};
    if (waiting?.reason) result = waiting.reason;
    else if (terminated) result = terminated.reason || exitText(terminated);
    else if (status.ready && status.state?.running) running = true;
  }
  // One container has ended, another still serves.
  return result === 'Completed' && running ? 'Running' : result;
}

/** `Running`, `Init:0/1`, `CrashLoopBackOff`, `Terminating`, … */
export function podState(pod: Pod): string {
  const status = pod.status ?? {};
  let state = status.reason || status.phase || 'Unknown';
  const gated = status.conditions?.find((c) => c.type === 'PodScheduled' && c.reason === 'SchedulingGated');
  if (gated) state = 'SchedulingGated';
  state = initState(pod) ?? containerState(status.containerStatuses ?? [], state);
  if (!pod.metadata.deletionTimestamp) return state;
  if (status.reason === 'NodeLost') return 'Unknown';
  return status.phase === 'Failed' || status.phase === 'Succeeded' ? state : 'Terminating';
}

function ready(pod: Pod): string {
  const sidecars = (pod.spec?.initContainers ?? []).filter((c) => c.restartPolicy === 'Always');
  const total = (pod.spec?.containers?.length ?? 0) + sidecars.length;
  const statuses = [
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.initContainerStatuses ?? []).filter((s) => isSidecar(pod, s.name)),
  ];
  return `${statuses.filter((s) => s.ready).length}/${total}`;
}

function restarts(pod: Pod, now: number): string {
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  const count = statuses.reduce((sum, s) => sum + s.restartCount, 0);
  const ends = statuses.flatMap((s) => s.lastState?.terminated?.finishedAt ?? []).sort();
  const last = ends.at(-1);
  return count > 0 && last ? `${count} (${age(last, now)} ago)` : String(count);
}

function gates(pod: Pod): string {
  const all = pod.spec?.readinessGates ?? [];
  if (all.length === 0) return '<none>';
  const open = all.filter((g) =>
    pod.status?.conditions?.some((c) => c.type === g.conditionType && c.status === 'True'),
  );
  return `${open.length}/${all.length}`;
}

export const podColumns: Column<Pod>[] = [
  nameColumn,
  text('Ready', 'Containers that are ready, of all.', ready),
  text('Status', 'What the pod is doing.', podState),
  text('Restarts', 'How often its containers were restarted.', restarts),
  ageColumn,
  text('IP', 'Its first address.', (p) => p.status?.podIPs?.[0]?.ip ?? p.status?.podIP ?? '<none>', true),
  text('Node', 'Where it runs.', (p) => joined([p.spec?.nodeName]), true),
  text('Nominated Node', 'Where it is meant to run.', (p) => joined([p.status?.nominatedNodeName]), true),
  text('Readiness Gates', 'Gates that are open, of all.', gates, true),
];
