/** What a cluster has in the machine's container runtime goes with the cluster, whoever made it and whoever has died. */
import { existsSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DEFAULT_ENDPOINT, socketOf } from '../cri/endpoint.ts';
import { SANDBOX_FILE } from '../cri/sandboxes.ts';
import { removeFromHierarchies } from '../kernel/cgroup.ts';
import { CRI_LEFT, findLeft, forgetLeft, leftText, noteLeft, PATIENT_MS, removeLeft } from './cri-left.ts';
import { removeEmpty } from './data-dir.ts';
import { type ClusterPaths, CRI_PODS, RUN_ROOT } from './paths.ts';

type Paths = Pick<ClusterPaths, 'id' | 'cgroup' | 'runDir' | 'config' | 'node'>;

/**
 * After the cluster's processes have ended, and before its data goes. What the runtime did not remove is noted
 * (cri-left.ts) and said in words.
 */
export async function removeCriPods(
  paths: Paths,
  endpoint: string = DEFAULT_ENDPOINT,
  notes: string = CRI_LEFT,
): Promise<string | undefined> {
  const trouble = mayHavePods(paths, endpoint, notes)
    ? await removeAll(paths.id, endpoint, notes)
    : undefined;
  // Container runtimes make groups in each hierarchy of cgroup v1 and leave ours above their own.
  removeFromHierarchies(paths.cgroup);
  for (const name of namesIn(CRI_PODS))
    if (leadsInto(join(CRI_PODS, name), paths.runDir)) rmSync(join(CRI_PODS, name), { force: true });
  removeEmpty(CRI_PODS);
  removeEmpty(RUN_ROOT);
  return trouble;
}

function mayHavePods({ id, config, node }: Paths, endpoint: string, notes: string): boolean {
  const nodes = dirname(node('x').state);
  const pods = namesIn(nodes).flatMap((name) => {
    const folder = join(nodes, name, 'pods');
    return namesIn(folder).map((uid) => join(folder, uid, SANDBOX_FILE));
  });
  const isNoted = () => findLeft(notes).some((one) => one.cluster === id && one.endpoint === endpoint);
  // Where somebody took its data away, only the runtime knows.
  const isUnknown = !existsSync(config) && existsSync(socketOf(endpoint));
  return isUnknown || pods.some((path) => existsSync(path)) || isNoted();
}

/** The note is written first: whoever is killed meanwhile has said what is left. */
async function removeAll(cluster: string, endpoint: string, notes: string): Promise<string | undefined> {
  const left = { cluster, endpoint, at: Date.now() };
  await noteLeft({ ...left, why: 'whoever was removing them was ended' }, notes);
  const why = await removeLeft(left, PATIENT_MS);
  if (why === undefined) {
    forgetLeft(left, notes);
    return undefined;
  }
  await noteLeft({ ...left, why }, notes);
  return leftText({ ...left, why });
}

/** Other clusters make and remove theirs meanwhile; what is no link is not ours. */
function leadsInto(path: string, runDir: string): boolean {
  try {
    return readlinkSync(path).startsWith(`${runDir}/`);
  } catch {
    return false;
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
