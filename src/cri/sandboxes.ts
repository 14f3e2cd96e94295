/** Sandboxes by their labels: what a cluster has in a container runtime. */
import { type Cri, isNotFound } from './client.ts';

/** On every sandbox and container of ours. */
export const CLUSTER_LABEL = 'heddle.dev/cluster';
export const NODE_LABEL = 'heddle.dev/node';
export const POD_LABEL = 'io.kubernetes.pod.uid';

/** In a pod's folder: written before a sandbox is asked for, gone after it was removed. */
export const SANDBOX_FILE = 'sandbox.json';

/**
 * With their containers; how many there were. `until`, milliseconds since 1970: those that were made by then. One that
 * cannot be removed keeps none of the others.
 * @throws HeddleError `CriUnavailable`, `CriFailed`
 */
export async function removeSandboxes(
  cri: Pick<Cri, 'listPodSandbox' | 'stopPodSandbox' | 'removePodSandbox'>,
  labels: Readonly<Record<string, string>>,
  until: number = Infinity,
): Promise<number> {
  const found = (await cri.listPodSandbox(labels)).filter(({ createdAt }) => createdAt <= until);
  const done = await Promise.allSettled(
    found.map(async ({ id }) => {
      await cri.stopPodSandbox(id).catch(ignoreGone);
      await cri.removePodSandbox(id).catch(ignoreGone);
    }),
  );
  const failed = done.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
  return found.length;
}

/** Somebody else has removed it meanwhile. */
function ignoreGone(error: unknown): void {
  if (!isNotFound(error)) throw error;
}
