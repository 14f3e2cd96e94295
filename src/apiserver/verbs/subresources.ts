/** What is under an object besides its status: scale, binding, eviction. */
import { POD } from '../../api/kinds.ts';
import type { Deployment, KubeObject, Pod } from '../../api/types.ts';
import { selectorText } from '../../api/selector.ts';
import { isObject } from '../../lib/json.ts';
import { parseBody } from '../body.ts';
import type { Answer, Call, Deps } from '../deps.ts';
import { badRequest, conflict, invalid, noSuchPath, notFound } from '../failure.ts';
import { keyOf, objectOf } from '../objects.ts';
import { patcherOf } from '../patching.ts';
import { deleteObject } from '../removal.ts';
import { timeText } from '../strategy.ts';
import { changeObject } from '../writes.ts';
import { targetOf } from './write.ts';

const RETRIES = 20;

/** The Scale of a Deployment or ReplicaSet. */
function scaleOf(object: KubeObject): KubeObject {
  const { spec, status, metadata } = object as unknown as Deployment;
  const { name, namespace, uid, resourceVersion, creationTimestamp } = metadata;
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: spec?.replicas ?? 0 },
    status: { replicas: status?.replicas ?? 0, selector: selectorText(spec?.selector) },
  };
}

export async function scale(deps: Deps, call: Call): Promise<Answer> {
  const { resource, info, contentType } = call;
  if (!resource.scale) throw noSuchPath();
  const entry = deps.store.get(keyOf(resource.kind, info.namespace, info.name));
  if (!entry) throw notFound(resource.kind, info.name);
  if (info.verb === 'get') return { code: 200, body: scaleOf(objectOf(entry)) };
  if (info.verb !== 'update' && info.verb !== 'patch') throw noSuchPath();
  const wanted =
    info.verb === 'patch'
      ? patcherOf(resource.kind, contentType.replace('strategic-', ''), call.body)
      : () => parseBody(call.body, contentType);
  const text = await changeObject(deps, targetOf(call), {
    name: info.name,
    subresource: '',
    retries: RETRIES,
    apply(before) {
      const next = wanted(scaleOf(before));
      const replicas = isObject(next) && isObject(next['spec']) ? next['spec']['replicas'] : undefined;
      if (!Number.isSafeInteger(replicas) || (replicas as number) < 0)
        throw invalid({ ...resource.kind, group: 'autoscaling', kind: 'Scale' }, info.name, [
          {
            type: 'FieldValueInvalid',
            field: 'spec.replicas',
            message: `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
          },
        ]);
      const revision =
        isObject(next) && isObject(next['metadata']) ? next['metadata']['resourceVersion'] : undefined;
      return {
        ...before,
        metadata: {
          ...before.metadata,
          resourceVersion: typeof revision === 'string' ? revision : undefined,
        },
        spec: { ...(before['spec'] as object), replicas },
      };
    },
  });
  return { code: 200, body: scaleOf(JSON.parse(text) as KubeObject) };
}

const success = (code: number): Answer => ({
  code,
  body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code },
});

/** POST pods/x/binding: gives an unassigned pod to a node. */
export async function bind(deps: Deps, call: Call): Promise<Answer> {
  const { info, contentType } = call;
  const given = parseBody(call.body, contentType) as {
    target?: { name?: string };
    metadata?: { uid?: string };
  };
  const node = given?.target?.name;
  if (!node) throw badRequest('a Binding names its node in target.name');
  await changeObject(deps, targetOf(call), {
    name: info.name,
    subresource: 'binding',
    retries: RETRIES,
    apply(before) {
      const pod = before as unknown as Pod;
      if (pod.metadata.deletionTimestamp)
        throw conflict(POD, info.name, `pod ${info.name} is being deleted, cannot be assigned to a host`);
      if (pod.spec?.nodeName)
        throw conflict(POD, info.name, `pod ${info.name} is already assigned to node "${pod.spec.nodeName}"`);
      const conditions = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
      const scheduled = {
        type: 'PodScheduled',
        status: 'True',
        lastTransitionTime: timeText(deps.clock.now()),
      };
      return {
        ...before,
        metadata: {
          ...before.metadata,
          resourceVersion: undefined,
          uid: given.metadata?.uid ?? before.metadata.uid,
        },
        spec: { ...pod.spec, nodeName: node },
        status: { ...pod.status, conditions: [...conditions, scheduled] },
      };
    },
  });
  return success(201);
}

/** POST pods/x/eviction: a deletion, as long as there are no disruption budgets. */
export async function evict(deps: Deps, call: Call): Promise<Answer> {
  const given = parseBody(call.body, call.contentType) as { deleteOptions?: Record<string, unknown> };
  await deleteObject(deps, targetOf(call), call.info.name, given?.deleteOptions ?? {});
  return success(201);
}
