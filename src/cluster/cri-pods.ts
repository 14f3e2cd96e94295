/** What a cluster has in the machine's container runtime goes with the cluster, whoever made it and whoever has died. */
import { existsSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openCri } from '../cri/client.ts';
import { DEFAULT_ENDPOINT, socketOf } from '../cri/endpoint.ts';
import { CLUSTER_LABEL, removeSandboxes } from '../cri/sandboxes.ts';
import { removeFromHierarchies } from '../kernel/cgroup.ts';
import { errorText } from '../lib/errors.ts';
import { removeEmpty } from './data-dir.ts';
import { type ClusterPaths, CRI_PODS, RUN_ROOT } from './paths.ts';

type Paths = Pick<ClusterPaths, 'id' | 'cgroup' | 'runDir'>;

/** After the cluster's processes have ended. What could not be removed, in words. */
export async function removeCriPods(
  paths: Paths,
  endpoint: string = DEFAULT_ENDPOINT,
): Promise<string | undefined> {
  const trouble = existsSync(socketOf(endpoint)) ? await removeAll(paths.id, endpoint) : undefined;
  // Container runtimes make groups in each hierarchy of cgroup v1 and leave ours above their own.
  removeFromHierarchies(paths.cgroup);
  for (const name of namesIn(CRI_PODS)) removeLink(join(CRI_PODS, name), paths.runDir);
  removeEmpty(CRI_PODS);
  removeEmpty(RUN_ROOT);
  return trouble;
}

async function removeAll(id: string, endpoint: string): Promise<string | undefined> {
  const cri = openCri(endpoint);
  try {
    // One that does not answer at once is not waited for as calls are.
    await cri.version();
    await removeSandboxes(cri, { [CLUSTER_LABEL]: id });
    return undefined;
  } catch (error) {
    return `sandboxes with the label ${CLUSTER_LABEL}=${id} may be left in ${endpoint}: ${errorText(error)}`;
  } finally {
    cri.close();
  }
}

function removeLink(path: string, runDir: string): void {
  if (readlinkSync(path).startsWith(`${runDir}/`)) rmSync(path, { force: true });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
