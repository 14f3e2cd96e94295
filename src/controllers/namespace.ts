/** Ends namespaces: whatever is in one goes first, then what holds the namespace itself. */
import { type Kind, NAMESPACE } from '../api/kinds.ts';
import type { Namespace } from '../api/types.ts';
import { ApiError, isNotFound } from '../client/api-error.ts';
import { discoverKinds } from '../client/discovery.ts';
import { withCondition } from './conditions.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced, timestamp } from './loop.ts';

const NAME = 'namespace-controller';
const FINALIZER = 'kubernetes';
/** What makes other things goes before what it makes. */
const FIRST = ['Service', 'Deployment', 'ReplicaSet'];
/** Milliseconds until a namespace that still has something in it is looked at again. */
const LOOK_AGAIN = 250;

export function createNamespaceController(deps: ControllerDeps): Controller {
  const { client, informers, clock } = deps;
  const { namespaces, pods } = informers;
  const queue = queueFor(deps, 'namespace', reconcile, { concurrency: 4 });

  async function reconcile(key: string): Promise<void> {
    const namespace = namespaces.get(key);
    if (!namespace?.metadata.deletionTimestamp) return;
    if (!namespace.spec?.finalizers?.includes(FINALIZER)) return;
    const remaining = await empty(key);
    if (remaining.length > 0) {
      await say(namespace, remaining);
      queue.addAfter(key, LOOK_AGAIN);
      return;
    }
    await finalize(namespace);
  }

  /** Asks for the deletion of everything; returns what is still there, as `3 pods`. */
  async function empty(namespace: string): Promise<string[]> {
    const remaining: string[] = [];
    for (const kind of inOrder(await contents())) {
      const before = await client.list(kind, { namespace, limit: 1 }).catch(nothing);
      if (before.items.length === 0) continue;
      await client.deleteCollection(kind, { namespace, propagationPolicy: 'Background' }).catch(unlessGone);
      const { items, remainingItemCount = 0 } = await client
        .list(kind, { namespace, limit: 1 })
        .catch(nothing);
      if (items.length > 0) remaining.push(`${items.length + remainingItemCount} ${kind.resource}`);
    }
    return remaining;
  }

  async function contents(): Promise<Kind[]> {
    const kinds = await discoverKinds(client);
    const needed = ['deletecollection', 'list'];
    return kinds.filter((kind) => kind.namespaced && needed.every((verb) => kind.verbs.includes(verb)));
  }

  async function say(namespace: Namespace, remaining: readonly string[]): Promise<void> {
    const condition = {
      type: 'NamespaceContentRemaining',
      status: 'True',
      reason: 'SomeResourcesRemain',
      message: `Some resources are remaining: ${remaining.join(', ')}`,
    };
    const old = namespace.status?.conditions;
    const conditions = withCondition(old, condition, timestamp(clock.now()));
    if (conditions === old) return;
    const patch = { status: { conditions } };
    const { name } = namespace.metadata;
    const updated = await client
      .patch(NAMESPACE, name, undefined, patch, { subresource: 'status' })
      .catch(unlessGone);
    if (updated) namespaces.remember(updated);
  }

  async function finalize(namespace: Namespace): Promise<void> {
    const { name } = namespace.metadata;
    const finalizers = namespace.spec?.finalizers?.filter((one) => one !== FINALIZER) ?? [];
    const { status: _, ...rest } = namespace;
    const body = { ...rest, spec: { ...namespace.spec, finalizers } };
    await client.subresource('PUT', NAMESPACE, name, undefined, 'finalize', body).catch(unlessGone);
  }

  namespaces.onChange((key, now) => {
    if (now?.metadata.deletionTimestamp) queue.add(key);
  });
  pods.onChange((_key, now, before) => {
    // The last pod is what namespaces wait for.
    const { namespace = '' } = before?.metadata ?? {};
    if (!now && namespaces.get(namespace)?.metadata.deletionTimestamp) queue.add(namespace);
  });
  return { name: NAME, run: (signal) => runWhenSynced(queue, [namespaces, pods], signal) };
}

function inOrder(kinds: readonly Kind[]): Kind[] {
  const rank = ({ kind }: Kind) => (FIRST.includes(kind) ? FIRST.indexOf(kind) : FIRST.length);
  return [...kinds].sort((a, b) => rank(a) - rank(b));
}

/** A kind that was there at discovery and is not now holds nothing. */
function nothing(error: unknown): { items: unknown[]; remainingItemCount?: number } {
  if (error instanceof ApiError && (error.code === 404 || error.code === 405)) return { items: [] };
  throw error;
}

function unlessGone(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
  return undefined;
}
