/**
 * Where a local cluster keeps things. Two roots only, so that whoever wants to find or remove a cluster
 * needs its data directory and nothing else:
 * - the data directory (0700, survives `down` and reboots): keys, store, logs, per-node state;
 * - the run directory (a private tmpfs, gone with one unmount): namespace binds and sockets.
 */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

export const DEFAULT_DATA_DIR = '/var/lib/heddle/default';
export const RUN_ROOT = '/run/heddle';
/** Where a container runtime's heddle-cni finds the pod host of a pod, of all clusters. */
export const CRI_PODS = join(RUN_ROOT, 'cri');

export interface ClusterPaths {
  /** Eight hex digits of the data directory's path; part of every name that is global to the machine. */
  readonly id: string;
  readonly dataDir: string;
  /** The settings `heddle up` was given, as JSON (`ClusterConfig`). */
  readonly config: string;
  readonly kubeconfig: string;
  readonly pki: string;
  readonly store: string;
  readonly logs: string;
  readonly compileCache: string;
  /** Held by whoever makes, runs or removes the cluster. */
  readonly lock: string;
  readonly runDir: string;
  readonly supervisorSocket: string;
  /** Of the process that carries frames between zones. */
  readonly linesSocket: string;
  /** The links between zones as they are now, as JSON. */
  readonly links: string;
  /** Where a bpffs is mounted: a folder of pinned programs and maps per node. */
  readonly bpf: string;
  /** Folder name of the cluster's cgroup below the cgroup2 mount. */
  readonly cgroup: string;
  netns(name: string): string;
  node(name: string): NodePaths;
}

export interface NodePaths {
  /** Persistent state of one node: IPAM, CNI results, pod records. */
  readonly state: string;
  readonly podLogs: string;
  /** Folder of profiles of system calls that pods name (`localhostProfile`). */
  readonly seccomp: string;
  readonly agentSocket: string;
  /** Where the node stands in a change of the way between nodes; gone when the cluster goes down. */
  readonly routing: string;
  readonly cniSocket: string;
  /** Where a container runtime asks for the networks of the node's pods. */
  readonly criSocket: string;
  /** Folder of what is mounted for pods of a container runtime: goes with the run directory. */
  readonly criMounts: string;
  readonly standInSocket: string;
  /** Which BGP speakers run: gone with the node's namespace, as what they have told. */
  readonly bgpMemory: string;
  /** Folder of the sockets of the pods' holders. */
  readonly pauseSockets: string;
  /** Pinned eBPF programs and maps of the node. */
  readonly bpf: string;
  /** The node's cgroup, below the cgroup2 mount. */
  readonly cgroup: string;
}

export function clusterPaths(dataDir: string = DEFAULT_DATA_DIR): ClusterPaths {
  const data = realPath(resolve(dataDir));
  const id = createHash('sha256').update(data).digest('hex').slice(0, 8);
  const runDir = join(RUN_ROOT, id);
  return {
    id,
    dataDir: data,
    config: join(data, 'cluster.json'),
    kubeconfig: join(data, 'kubeconfig'),
    pki: join(data, 'pki'),
    store: join(data, 'store.db'),
    logs: join(data, 'logs'),
    compileCache: join(data, 'compile-cache'),
    lock: join(data, 'lock'),
    runDir,
    supervisorSocket: join(runDir, 'supervisor.sock'),
    linesSocket: join(runDir, 'lines.sock'),
    links: join(runDir, 'links.json'),
    bpf: join(runDir, 'bpf'),
    cgroup: `heddle-${id}`,
    netns: (name) => join(runDir, 'netns', name),
    node: (name) => ({
      state: join(data, 'nodes', name),
      podLogs: join(data, 'nodes', name, 'logs'),
      seccomp: join(data, 'nodes', name, 'seccomp'),
      agentSocket: join(runDir, 'nodes', `${name}.agent.sock`),
      routing: join(runDir, 'nodes', `${name}.routing.json`),
      cniSocket: join(runDir, 'nodes', `${name}.cni.sock`),
      criSocket: join(runDir, 'nodes', `${name}.cri.sock`),
      criMounts: join(runDir, 'nodes', `${name}.mounts`),
      standInSocket: join(runDir, 'nodes', `${name}.stand-in.sock`),
      bgpMemory: join(runDir, 'nodes', `${name}.bgp.json`),
      pauseSockets: join(runDir, 'nodes', `${name}.pods`),
      bpf: join(runDir, 'bpf', name),
      cgroup: join(`heddle-${id}`, name),
    }),
  };
}

/** Links followed as far as the path exists: one folder is one cluster, whatever way it is written. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    const parent = dirname(path);
    return parent === path ? path : join(realPath(parent), basename(path));
  }
}
