/** Removes pods whose node is no more: nobody is left to end them. */
import { NODE, POD } from '../api/kinds.ts';
import { isNotFound } from '../client/api-error.ts';
import { type Controller, type ControllerDeps, queueFor, runWhenSynced } from './loop.ts';

const NAME = 'pod-garbage-collector';
/** Milliseconds that a node may be away before its pods go: one that is made anew keeps them. */
const GRACE = 10_000;

export function createPodGarbageCollector(deps: ControllerDeps, grace: number = GRACE): Controller {
  const { client, informers, clock } = deps;
  const { pods, nodes } = informers;
  const podsOn = pods.byIndex('node', ({ spec }) => (spec?.nodeName ? [spec.nodeName] : []));
  /** Monotonic milliseconds since which a node that pods name is not there. */
  const missing = new Map<string, number>();
  const queue = queueFor(deps, 'pod-gc', reconcile, { concurrency: 1 });

  async function reconcile(node: string): Promise<void> {
    if (nodes.get(node) || podsOn(node).length === 0) {
      missing.delete(node);
      return;
    }
    const since = missing.get(node) ?? clock.monotonic();
    missing.set(node, since);
    const left = since + grace - clock.monotonic();
    if (left > 0) return queue.addAfter(node, left);
    if (await exists(node)) return;
    for (const { metadata } of podsOn(node))
      await client
        .delete(POD, metadata.name, metadata.namespace, {
          gracePeriodSeconds: 0,
          preconditions: { uid: metadata.uid },
        })
        .catch((error: unknown) => {
          if (!isNotFound(error)) throw error;
        });
  }

  /** The copy may be behind: asked before anything is deleted. */
  async function exists(node: string): Promise<boolean> {
    try {
      await client.get(NODE, node);
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  nodes.onChange((key, now) => {
    if (!now) queue.add(key);
    else missing.delete(key);
  });
  pods.onChange((_key, now) => {
    const node = now?.spec?.nodeName;
    if (node && !nodes.get(node)) queue.add(node);
  });
  return { name: NAME, run: (signal) => runWhenSynced(queue, [pods, nodes], signal) };
}
