/** What the runtime has of this node's pods: one list for all of them, once a second while a pod asks. */
import { type Container, SandboxState } from '../../cri/types.ts';
import type { Cri } from '../../cri/client.ts';
import { POD_LABEL } from '../../cri/sandboxes.ts';
import type { Clock } from '../../lib/clock.ts';

export interface Look {
  /** Those of one pod. */
  containers: readonly Container[];
  /** Ids of its sandboxes that live. */
  sandboxes: readonly string[];
  /** When the list was asked for, by the monotonic clock: what was made later is not in it. */
  askedAt: number;
}

export interface ContainerWatch {
  /** Told after each look; the result ends it. */
  onLook(uid: string, listener: (look: Look) => void): () => void;
  /** A look now. @throws HeddleError `CriUnavailable`, `CriFailed` */
  look(): Promise<void>;
}

export interface ContainerWatchDeps {
  cri: Pick<Cri, 'listContainers' | 'listPodSandbox'>;
  /** Of this node's. */
  labels: Readonly<Record<string, string>>;
  clock: Clock;
}

/** Milliseconds between looks: a kubelet's. */
const LOOK_MS = 1000;

export function createContainerWatch({ cri, labels, clock }: ContainerWatchDeps): ContainerWatch {
  const listeners = new Map<string, Set<(look: Look) => void>>();
  let looping: Promise<void> | undefined;

  async function look(): Promise<void> {
    const askedAt = clock.monotonic();
    const [found, sandboxes] = await Promise.all([cri.listContainers(labels), cri.listPodSandbox(labels)]);
    const all = Map.groupBy(found, (one) => one.labels[POD_LABEL] ?? '');
    const living = Map.groupBy(
      sandboxes.filter(({ state }) => state === SandboxState.ready),
      ({ metadata }) => metadata?.uid ?? '',
    );
    for (const [uid, told] of listeners)
      for (const listener of told)
        listener({
          containers: all.get(uid) ?? [],
          sandboxes: (living.get(uid) ?? []).map(({ id }) => id),
          askedAt,
        });
  }

  async function loop(): Promise<void> {
    while (listeners.size > 0) {
      // A runtime that does not answer says nothing of its containers: they are as they were.
      await look().catch(() => {});
      await clock.sleep(LOOK_MS);
    }
  }

  return {
    look,
    onLook(uid, listener) {
      const told = listeners.get(uid) ?? new Set();
      listeners.set(uid, told.add(listener));
      looping ??= loop().finally(() => (looping = undefined));
      return () => {
        told.delete(listener);
        if (told.size === 0) listeners.delete(uid);
      };
    },
  };
}
