/** Deployments: ReplicaSets of successive templates, exchanged without losing the service. */
import { DEPLOYMENT, REPLICA_SET } from '../api/kinds.ts';
import { compileOptionalSelector } from '../api/selector.ts';
import type { Deployment, ReplicaSet } from '../api/types.ts';
import { isAlreadyExists, isNotFound } from '../client/api-error.ts';
import { keyOf } from '../client/informer-cache.ts';
import { type DeploymentPlan, planDeployment } from './deployment-plan.ts';
import { REVISION, replicasOf, sameTemplate } from './deployment-sets.ts';
import { byController, byNamespace, namespaceEnds, orphansByNamespace } from './informers.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced } from './loop.ts';
import { adoptPatch, claimOf, controllerOf, releasePatch } from './owner.ts';
import { isFinished } from './pods.ts';

const NAME = 'deployment-controller';

export function createDeploymentController(deps: ControllerDeps): Controller {
  const { client, informers, clock } = deps;
  const { deployments, replicaSets, pods } = informers;
  const recorder = deps.recorder(NAME);
  const ownSets = byController(replicaSets);
  const orphans = orphansByNamespace(replicaSets);
  const podsOf = byController(pods);
  const deploymentsIn = byNamespace(deployments);
  const queue = queueFor(deps, 'deployment', reconcile, { concurrency: 8 });

  async function reconcile(key: string): Promise<void> {
    const deployment = deployments.get(key);
    if (!deployment || namespaceEnds(informers, deployment.metadata.namespace)) return;
    const plan = planDeployment({
      deployment,
      sets: await claimSets(deployment),
      hasPods: (set) => podsOf(set.metadata.uid ?? '').some((pod) => !isFinished(pod)),
      now: clock.now(),
    });
    await carryOut(deployment, plan);
    if (plan.again !== undefined) queue.addAfter(key, plan.again);
  }

  async function claimSets(deployment: Deployment): Promise<ReplicaSet[]> {
    const { uid = '', namespace = '' } = deployment.metadata;
    const selects = compileOptionalSelector(deployment.spec?.selector);
    const mine: ReplicaSet[] = [];
    for (const set of [...ownSets(uid), ...orphans(namespace)]) {
      const claim = claimOf(deployment.metadata, set.metadata, selects(set.metadata.labels));
      if (claim === 'mine') mine.push(set);
      else if (claim === 'adopt')
        mine.push(await patchOwner(set, adoptPatch(DEPLOYMENT, deployment.metadata, set.metadata)));
      else if (claim === 'release') await patchOwner(set, releasePatch(deployment.metadata, set.metadata));
    }
    return mine;
  }

  async function patchOwner({ metadata }: ReplicaSet, patch: unknown): Promise<ReplicaSet> {
    const set = await client.patch(REPLICA_SET, metadata.name, metadata.namespace, patch);
    replicaSets.remember(set);
    return set;
  }

  async function carryOut(deployment: Deployment, plan: DeploymentPlan): Promise<void> {
    if (plan.create) await create(deployment, plan.create);
    for (const set of plan.update) await update(deployment, set);
    for (const { metadata } of plan.remove)
      await client
        .delete(REPLICA_SET, metadata.name, metadata.namespace, { preconditions: { uid: metadata.uid } })
        .catch(unlessGone);
    await writeOwn(deployment, plan);
  }

  async function create(deployment: Deployment, set: ReplicaSet): Promise<void> {
    try {
      replicaSets.remember(await client.create(REPLICA_SET, set));
      scaled(deployment, set, 'up', 0);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      await resolveCollision(deployment, set);
    }
  }

  /** The name is taken: by our own ReplicaSet that the copy does not have yet, or by another template's. */
  async function resolveCollision(deployment: Deployment, wanted: ReplicaSet): Promise<void> {
    const { name, namespace } = wanted.metadata;
    const found = await client.get(REPLICA_SET, name, namespace);
    const own = controllerOf(found.metadata)?.uid === deployment.metadata.uid;
    if (own && sameTemplate(found.spec?.template, deployment.spec?.template)) {
      replicaSets.remember(found);
      return;
    }
    const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
    const status = { ...deployment.status, collisionCount };
    deployments.remember(await client.updateStatus(DEPLOYMENT, { ...deployment, status }));
  }

  async function update(deployment: Deployment, set: ReplicaSet): Promise<void> {
    const before = replicaSets.get(keyOf(set.metadata));
    replicaSets.remember(await client.update(REPLICA_SET, set));
    const from = before ? replicasOf(before) : 0;
    if (from !== replicasOf(set)) scaled(deployment, set, from < replicasOf(set) ? 'up' : 'down', from);
  }

  function scaled(deployment: Deployment, set: ReplicaSet, way: 'up' | 'down', from: number): void {
    const message = `Scaled ${way} replica set ${set.metadata.name} from ${from} to ${replicasOf(set)}`;
    recorder.event(deployment, 'Normal', 'ScalingReplicaSet', message);
  }

  async function writeOwn(deployment: Deployment, plan: DeploymentPlan): Promise<void> {
    const { name, namespace } = deployment.metadata;
    let current = deployment;
    if (plan.revision !== undefined) {
      const annotations = { [REVISION]: plan.revision };
      current = await client.patch(DEPLOYMENT, name, namespace, { metadata: { annotations } });
      deployments.remember(current);
    }
    if (!plan.status) return;
    // Of the generation that was looked at, which may no longer be the newest: that is what it is there to say.
    const updated = await client
      .updateStatus(DEPLOYMENT, { ...current, status: plan.status })
      .catch(unlessGone);
    if (updated) deployments.remember(updated);
  }

  deployments.onChange((key) => queue.add(key));
  replicaSets.onChange((_key, now, before) => {
    for (const set of [now, before]) if (set) setChanged(set);
  });
  // A Recreate waits for the last of the old pods.
  pods.onChange((_key, now, before) => {
    const set = before && !now ? controllerOf(before.metadata) : undefined;
    const known = set && replicaSets.get(`${before?.metadata.namespace}/${set.name}`);
    if (known) setChanged(known);
  });

  function setChanged(set: ReplicaSet): void {
    const { namespace = '', labels } = set.metadata;
    const controller = controllerOf(set.metadata);
    if (controller?.kind === DEPLOYMENT.kind) queue.add(`${namespace}/${controller.name}`);
    if (controller) return;
    for (const deployment of deploymentsIn(namespace))
      if (compileOptionalSelector(deployment.spec?.selector)(labels)) queue.add(keyOf(deployment.metadata));
  }

  return {
    name: NAME,
    run: (signal) => runWhenSynced(queue, [deployments, replicaSets, pods, informers.namespaces], signal),
  };
}

function unlessGone(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
  return undefined;
}
