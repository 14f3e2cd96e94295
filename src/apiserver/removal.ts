/** Deletion: at once, gracefully (pods), or after finalizers. */
import { NAMESPACE, POD } from '../api/kinds.ts';
import type { KubeObject, Pod } from '../api/types.ts';
import { sameJson } from '../lib/json.ts';
import { ConflictError, type Entry } from '../store/types.ts';
import { admit } from './admission/chain.ts';
import type { Deps } from './deps.ts';
import { conflict, notFound } from './failure.ts';
import { keyOf, objectOf, textAt } from './objects.ts';
import { isReleased, timeText } from './strategy.ts';
import type { Target } from './writes.ts';

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: string;
  readonly orphanDependents?: boolean;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}

export interface Removed {
  /** Text of the object: as it is now, or as it was last. */
  readonly text: string;
  readonly object: KubeObject;
  /** False while a grace period or finalizers hold it. */
  readonly gone: boolean;
}

/** What the garbage collector (a controller) takes away when it has seen to the dependents. */
const FINALIZERS = { Foreground: 'foregroundDeletion', Orphan: 'orphan' } as const;

const DEFAULT_GRACE = 30;
const RETRIES = 10;

/** @throws ApiFailure */
export async function deleteObject(
  deps: Pick<Deps, 'store' | 'clock'>,
  target: Target,
  name: string,
  options: DeleteOptions,
): Promise<Removed> {
  const { kind } = target.resource;
  const key = keyOf(kind, target.namespace, name);
  for (let attempt = 0; ; attempt++) {
    const entry = deps.store.get(key);
    if (!entry) throw notFound(kind, name);
    try {
      return await deleteOnce(deps, target, entry, options);
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
      if (attempt >= RETRIES) throw conflict(kind, name);
    }
  }
}

async function deleteOnce(
  { store, clock }: Pick<Deps, 'store' | 'clock'>,
  { resource, namespace, user, dryRun }: Target,
  entry: Entry,
  options: DeleteOptions,
): Promise<Removed> {
  const before = objectOf(entry);
  const { name } = before.metadata;
  checkPreconditions(resource.kind, before, options);
  admit(
    { operation: 'delete', resource, namespace, name, subresource: '', user, object: undefined, before },
    { store },
  );
  const next = marked(before, options, {
    now: clock.now(),
    pod: resource.kind === POD,
    namespace: resource.kind === NAMESPACE,
  });
  const gone = isReleased(resource.kind, next);
  if (dryRun || next === before) return { text: entry.value, object: before, gone };
  const value = gone ? null : (revision: number) => textAt(next, revision);
  const written = await store.write({ key: entry.key, expect: entry.revision, value });
  const text = written.now?.value ?? textAt(before, written.revision);
  return { text, object: written.now ? objectOf(written.now) : before, gone };
}

function checkPreconditions(
  kind: Target['resource']['kind'],
  { metadata }: KubeObject,
  options: DeleteOptions,
): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  if (uid !== undefined && uid !== metadata.uid)
    throw conflict(
      kind,
      metadata.name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`,
    );
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion)
    throw conflict(
      kind,
      metadata.name,
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion}`,
    );
}

interface Marking {
  readonly now: number;
  readonly pod: boolean;
  readonly namespace: boolean;
}

/** The object with its deletion begun; the same object when it has begun and this asks for nothing sooner. */
function marked(before: KubeObject, options: DeleteOptions, { now, pod, namespace }: Marking): KubeObject {
  const grace = pod ? gracePeriod(before as unknown as Pod, options) : 0;
  const { deletionTimestamp, deletionGracePeriodSeconds, generation } = before.metadata;
  const begun = deletionTimestamp !== undefined && deletionTimestamp !== null;
  const finalizers = finalizersFor(before, options);
  const sooner = !begun || grace < (deletionGracePeriodSeconds ?? 0);
  if (!sooner && sameJson(finalizers, before.metadata.finalizers ?? [])) return before;
  const next: KubeObject = {
    ...before,
    metadata: {
      ...before.metadata,
      // A shorter period counts from when the deletion began.
      deletionTimestamp: !sooner
        ? deletionTimestamp
        : begun
          ? timeText(Date.parse(deletionTimestamp) - ((deletionGracePeriodSeconds ?? 0) - grace) * 1000)
          : timeText(now + grace * 1000),
      deletionGracePeriodSeconds: sooner ? grace : deletionGracePeriodSeconds,
      ...(finalizers.length > 0 ? { finalizers } : {}),
      ...(generation === undefined || !sooner ? {} : { generation: generation + 1 }),
    },
  };
  if (finalizers.length === 0) delete next.metadata.finalizers;
  if (namespace) next['status'] = { ...(before['status'] as object), phase: 'Terminating' };
  return next;
}

/** The finalizers with the asked way of propagation instead of any former one. */
function finalizersFor({ metadata }: KubeObject, options: DeleteOptions): string[] {
  const policy = options.propagationPolicy ?? (options.orphanDependents === true ? 'Orphan' : undefined);
  const held = metadata.finalizers ?? [];
  if (policy === undefined) return held;
  const rest = held.filter((one) => one !== FINALIZERS.Foreground && one !== FINALIZERS.Orphan);
  return policy === 'Foreground' || policy === 'Orphan' ? [...rest, FINALIZERS[policy]] : rest;
}

/** Seconds that the node has to end the pod; 0 when no node has it, or it has ended. */
function gracePeriod({ spec, status }: Pod, { gracePeriodSeconds }: DeleteOptions): number {
  const ended = status?.phase === 'Succeeded' || status?.phase === 'Failed';
  if (!spec?.nodeName || ended) return 0;
  return Math.max(0, gracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? DEFAULT_GRACE);
}
