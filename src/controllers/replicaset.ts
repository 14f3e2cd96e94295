/** ReplicaSets: as many pods as asked for, made from the template. */
import { POD, REPLICA_SET } from '../api/kinds.ts';
import { compileOptionalSelector } from '../api/selector.ts';
import type { Pod, ReplicaSet } from '../api/types.ts';
import { ApiError, isAlreadyExists, isNotFound } from '../client/api-error.ts';
import { keyOf } from '../client/informer-cache.ts';
import { errorText } from '../lib/errors.ts';
import { mapLimited } from '../lib/parallel.ts';
import { byController, byNamespace, namespaceEnds, orphansByNamespace } from './informers.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced, timestamp } from './loop.ts';
import { generatedName } from './names.ts';
import { adoptPatch, controllerOf, controllerReference, releasePatch } from './owner.ts';
import { isTerminating } from './pods.ts';
import { type ReplicaSetPlan, planReplicaSet, replicaSetStatus } from './replicaset-plan.ts';

const NAME = 'replicaset-controller';
/** Pods written at once for one ReplicaSet, after the first has gone well. */
const PARALLEL = 16;

export function createReplicaSetController(deps: ControllerDeps): Controller {
  const { client, informers, clock } = deps;
  const { pods, replicaSets } = informers;
  const recorder = deps.recorder(NAME);
  const ownPods = byController(pods);
  const orphans = orphansByNamespace(pods);
  const setsIn = byNamespace(replicaSets);
  /** Uids of pods deleted here, until the copy shows it: a stale copy must not make us delete twice. */
  const deleted = new Set<string>();
  const queue = queueFor(deps, 'replicaset', reconcile, { concurrency: 8 });

  async function reconcile(key: string): Promise<void> {
    const replicaSet = replicaSets.get(key);
    if (!replicaSet || namespaceEnds(informers, replicaSet.metadata.namespace)) return;
    const { uid = '', namespace = '' } = replicaSet.metadata;
    const plan = planReplicaSet({
      replicaSet,
      pods: [...ownPods(uid), ...orphans(namespace)],
      deleted,
      now: clock.now(),
    });
    let failure: { reason: string; message: string; error: unknown } | undefined;
    try {
      await carryOut(replicaSet, plan);
    } catch (error) {
      const reason = plan.create > 0 ? 'FailedCreate' : 'FailedDelete';
      failure = { reason, message: errorText(error), error };
    }
    const refused = failure?.error instanceof ApiError ? failure : undefined;
    await writeStatus(replicaSet, plan, refused && { reason: refused.reason, message: refused.message });
    if (plan.again !== undefined) queue.addAfter(key, plan.again + 1);
    if (failure) throw failure.error;
  }

  async function carryOut(replicaSet: ReplicaSet, plan: ReplicaSetPlan): Promise<void> {
    for (const pod of plan.adopt)
      await patchOwner(pod, adoptPatch(REPLICA_SET, replicaSet.metadata, pod.metadata));
    for (const pod of plan.release) await patchOwner(pod, releasePatch(replicaSet.metadata, pod.metadata));
    if (plan.create > 0) {
      // One first: if it is refused, so would be the others.
      await createPod(replicaSet);
      await mapLimited(Array.from({ length: plan.create - 1 }), PARALLEL, () => createPod(replicaSet));
    }
    await mapLimited(plan.remove, PARALLEL, (pod) => deletePod(replicaSet, pod));
  }

  async function patchOwner(pod: Pod, patch: unknown): Promise<void> {
    const { name, namespace } = pod.metadata;
    try {
      pods.remember(await client.patch(POD, name, namespace, patch));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async function createPod(replicaSet: ReplicaSet): Promise<void> {
    try {
      // A name may be taken: of a thousand pods, once in thirty times.
      const again = (error: unknown) => {
        if (!isAlreadyExists(error)) throw error;
        return client.create(POD, podFrom(replicaSet));
      };
      const pod = await client.create(POD, podFrom(replicaSet)).catch(again);
      pods.remember(pod);
      recorder.event(replicaSet, 'Normal', 'SuccessfulCreate', `Created pod: ${pod.metadata.name}`);
    } catch (error) {
      const message = `Error creating: ${errorText(error)}`;
      if (error instanceof ApiError) recorder.event(replicaSet, 'Warning', 'FailedCreate', message);
      throw error;
    }
  }

  async function deletePod(replicaSet: ReplicaSet, { metadata }: Pod): Promise<void> {
    const { name, namespace, uid = '' } = metadata;
    deleted.add(uid);
    try {
      await client.delete(POD, name, namespace, { preconditions: { uid } });
      recorder.event(replicaSet, 'Normal', 'SuccessfulDelete', `Deleted pod: ${name}`);
    } catch (error) {
      if (isNotFound(error)) return;
      deleted.delete(uid);
      throw error;
    }
  }

  async function writeStatus(
    replicaSet: ReplicaSet,
    plan: ReplicaSetPlan,
    failure: { reason: string; message: string } | undefined,
  ): Promise<void> {
    const status = replicaSetStatus(replicaSet, plan.status, failure, timestamp(clock.now()));
    if (!status) return;
    try {
      replicaSets.remember(await client.updateStatus(REPLICA_SET, { ...replicaSet, status }));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  function podChanged(pod: Pod): void {
    const controller = controllerOf(pod.metadata);
    const { namespace = '' } = pod.metadata;
    if (controller) {
      if (controller.kind === REPLICA_SET.kind) queue.add(`${namespace}/${controller.name}`);
      return;
    }
    for (const replicaSet of setsIn(namespace))
      if (compileOptionalSelector(replicaSet.spec?.selector)(pod.metadata.labels))
        queue.add(keyOf(replicaSet.metadata));
  }

  pods.onChange((_key, now, before) => {
    const uid = before?.metadata.uid;
    if (uid && (now?.metadata.uid !== uid || isTerminating(now))) deleted.delete(uid);
    if (now) podChanged(now);
    if (before && controllerOf(before.metadata)?.uid !== (now && controllerOf(now.metadata)?.uid))
      podChanged(before);
  });
  replicaSets.onChange((key) => queue.add(key));

  return {
    name: NAME,
    run: (signal) => runWhenSynced(queue, [pods, replicaSets, informers.namespaces], signal),
  };
}

function podFrom(replicaSet: ReplicaSet): Pod {
  const { name, namespace } = replicaSet.metadata;
  const template = replicaSet.spec?.template;
  const { labels, annotations, finalizers } = template?.metadata ?? {};
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: generatedName(`${name}-`),
      generateName: `${name}-`,
      namespace,
      labels,
      annotations,
      finalizers,
      ownerReferences: [controllerReference(REPLICA_SET, replicaSet.metadata)],
    },
    spec: template?.spec,
  };
}
