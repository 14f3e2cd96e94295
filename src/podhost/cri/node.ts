/** The container runtime as one node's pods share it: opened when the first pod asks for it. */
import { type Cri, openCri } from '../../cri/client.ts';
import { DEFAULT_ENDPOINT } from '../../cri/endpoint.ts';
import { CLUSTER_LABEL, NODE_LABEL } from '../../cri/sandboxes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { createCriNetworks, type CriNetworks } from './networks.ts';
import { type ContainerWatch, createContainerWatch } from './watch.ts';

export interface CriOptions {
  /** Default: containerd's own. */
  endpoint?: string | undefined;
  /** Where `heddle-cni` finds the pod host of a pod. */
  pods: string;
  /** Of this node, at the other end of the links in `pods`. */
  socketPath: string;
  /** Folder of what is mounted for the node's pods, where the runtime sees it. */
  mounts: string;
  cluster: string;
  node: string;
  /** Of the node's pods, from the root of a hierarchy on. */
  cgroup: string;
}

export interface CriNode {
  readonly cri: Cri;
  /** On all that the node has in it. */
  readonly labels: Readonly<Record<string, string>>;
  readonly cgroup: string;
  readonly watch: ContainerWatch;
  readonly mounts: string;
  readonly networks: CriNetworks;
  /** @throws HeddleError `CriUnavailable`, `CriUnsupported` */
  check(): Promise<void>;
  close(): Promise<void>;
}

export function createCriNode(options: CriOptions, { clock, log }: { clock: Clock; log: Log }): CriNode {
  const cri = openCri(options.endpoint ?? DEFAULT_ENDPOINT);
  const labels = { [CLUSTER_LABEL]: options.cluster, [NODE_LABEL]: options.node };
  const networks = createCriNetworks({ ...options, log });
  return {
    cri,
    labels,
    cgroup: options.cgroup,
    mounts: options.mounts,
    watch: createContainerWatch({ cri, labels, clock }),
    networks,
    check: async () => void (await cri.version()),
    async close() {
      await networks.close();
      cri.close();
    },
  };
}
