/** Gives every pod a node. All waiting pods are placed in one pass, so that they can be spread. */
import { POD } from '../api/kinds.ts';
import type { PodTakes } from '../api/pod-room.ts';
import type { Pod } from '../api/types.ts';
import { isConflict, isNotFound } from '../client/api-error.ts';
import { keyOf } from '../client/informer-cache.ts';
import { sameJson } from '../lib/json.ts';
import { mapLimited } from '../lib/parallel.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced, timestamp } from './loop.ts';
import { isFinished } from './pods.ts';
import { planPlacements } from './scheduler-plan.ts';

const NAME = 'default-scheduler';
/** Bindings written at once. */
const PARALLEL = 16;
/** Milliseconds that a pod waits before it is told why: nodes come up beside the first pods. */
const PATIENCE = 1000;
/** The queue's only key: a pass looks at everything. */
const PASS = 'pass';

export function createScheduler(
  deps: ControllerDeps,
  { takes }: { takes?: PodTakes | undefined } = {},
): Controller {
  const { client, informers, clock } = deps;
  const { pods, nodes } = informers;
  const recorder = deps.recorder(NAME);
  const assumed = new Map<string, string>();
  /** By pod uid, monotonic milliseconds since which it waits. */
  const waiting = new Map<string, number>();
  /** By pod uid, what was last said of why it waits. */
  const said = new Map<string, string>();
  const queue = queueFor(deps, 'scheduler', schedule, { concurrency: 1, retry: { first: 5, longest: 1000 } });

  async function schedule(): Promise<void> {
    const placements = planPlacements({ nodes: nodes.list(), pods: pods.list(), assumed, takes });
    await mapLimited(placements, PARALLEL, async (placement) => {
      if (placement.node === undefined) await explainWait(placement.pod, placement.why);
      else await bind(placement.pod, placement.node);
    });
  }

  async function bind(pod: Pod, node: string): Promise<void> {
    const { name, namespace, uid = '' } = pod.metadata;
    assumed.set(uid, node);
    try {
      await client.subresource('POST', POD, name, namespace, 'binding', {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name, namespace, uid },
        target: { apiVersion: 'v1', kind: 'Node', name: node },
      });
      forget(uid);
      recorder.event(pod, 'Normal', 'Scheduled', `Successfully assigned ${keyOf(pod.metadata)} to ${node}`);
    } catch (error) {
      assumed.delete(uid);
      // Gone, or placed by somebody else: the copy will say so.
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  async function explainWait(pod: Pod, message: string): Promise<void> {
    const { name, namespace, uid = '' } = pod.metadata;
    if (said.get(uid) === message) return;
    const since = waiting.get(uid) ?? clock.monotonic();
    waiting.set(uid, since);
    const left = since + PATIENCE - clock.monotonic();
    if (left > 0) return queue.addAfter(PASS, left);
    said.set(uid, message);
    recorder.event(pod, 'Warning', 'FailedScheduling', message);
    const condition = {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastTransitionTime: timestamp(clock.now()),
    };
    try {
      await client.patch(
        POD,
        name,
        namespace,
        { status: { conditions: [condition] } },
        { type: 'strategic', subresource: 'status' },
      );
    } catch (error) {
      said.delete(uid);
      if (!isNotFound(error)) throw error;
    }
  }

  function forget(uid: string): void {
    said.delete(uid);
    waiting.delete(uid);
  }

  pods.onChange((_key, now, before) => {
    const uid = (now ?? before)?.metadata.uid ?? '';
    if (!now) forget(uid);
    if (!now || now.spec?.nodeName) assumed.delete(uid);
    // A new pod, or room where one has gone or has ended.
    if (!now || !now.spec?.nodeName || (isFinished(now) && before && !isFinished(before))) queue.add(PASS);
  });
  nodes.onChange((_key, now, before) => {
    if (!sameJson(now && relevant(now), before && relevant(before))) queue.add(PASS);
  });

  return { name: NAME, run: (signal) => runWhenSynced(queue, [pods, nodes], signal) };
}

/** What of a node decides about pods; heartbeats do not. */
function relevant({
  metadata,
  spec,
  status,
}: ReturnType<ControllerDeps['informers']['nodes']['list']>[number]) {
  const ready = status?.conditions?.find((one) => one.type === 'Ready')?.status;
  return [metadata.labels, metadata.deletionTimestamp, spec, status?.allocatable, ready];
}
