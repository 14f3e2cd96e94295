/** A pod's sandbox in the container runtime, made in steps that can be repeated. */
import { join } from 'node:path';
import type { Pod } from '../../api/types.ts';
import type { CniResult } from '../../cni/types.ts';
import { POD_LABEL, removeSandboxes } from '../../cri/sandboxes.ts';
import { NamespaceMode, type PodSandboxConfig, ProfileType, SandboxState } from '../../cri/types.ts';
import { HeddleError } from '../../lib/errors.ts';
import { nodenameOf } from '../files.ts';
import type { PodRecord } from '../records.ts';
import { isPrivileged, pidMode } from './config.ts';
import type { CriNode } from './node.ts';
import { loadSandbox, saveSandbox } from './sandbox-file.ts';

export interface CriSandboxDeps {
  node(): CriNode;
  folder(uid: string): string;
  podLogs: string;
  clusterDomain: string;
}

export interface CriSandbox {
  /** `make` is given the sandbox's namespace and makes the pod's network in it. @throws HeddleError */
  setUp(record: PodRecord, pod: Pod, make: (netns: string) => Promise<CniResult>): Promise<void>;
  /** Where nobody can say, what runs is left alone. */
  isReady(uid: string): Promise<boolean>;
}

export const podLogFolder = (podLogs: string, { namespace, name, uid }: PodRecord): string =>
  join(podLogs, `${namespace}_${name}_${uid}`);

const IDS = {
  pod: 'io.kubernetes.pod.name',
  namespace: 'io.kubernetes.pod.namespace',
} as const;

export function createCriSandbox(deps: CriSandboxDeps): CriSandbox {
  function configOf(record: PodRecord, pod: Pod, attempt: number): PodSandboxConfig {
    const { uid, namespace, name } = record;
    const { labels, cgroup } = deps.node();
    return {
      metadata: { name, uid, namespace, attempt },
      hostname: nodenameOf(pod, deps.clusterDomain),
      logDirectory: podLogFolder(deps.podLogs, record),
      labels: { ...labels, [POD_LABEL]: uid, [IDS.pod]: name, [IDS.namespace]: namespace },
      linux: {
        cgroupParent: `/${join(cgroup, uid)}`,
        securityContext: {
          namespaceOptions: {
            network: NamespaceMode.pod,
            pid: pidMode(pod),
            ipc: NamespaceMode.pod,
          },
          privileged: isPrivileged(pod),
          seccomp: { profileType: ProfileType.runtimeDefault },
        },
      },
    };
  }

  return {
    async setUp(record, pod, make) {
      const node = deps.node();
      await node.check();
      const folder = deps.folder(record.uid);
      const before = loadSandbox(folder);
      // Half made, of another network, or of the cluster's last life: it begins anew.
      await removeSandboxes(node.cri, { ...node.labels, [POD_LABEL]: record.uid });
      const config = configOf(record, pod, before ? before.config.metadata.attempt + 1 : 0);
      await saveSandbox(folder, { config });
      let asked = false;
      const id = await node.networks.during(
        record.uid,
        (netns) => {
          asked = true;
          return make(netns);
        },
        () => node.cri.runPodSandbox(config, pod.spec?.runtimeClassName ?? ''),
      );
      if (!asked) throw notOurNetwork(node.cri.endpoint);
      await saveSandbox(folder, { id, config });
    },
    async isReady(uid) {
      const id = loadSandbox(deps.folder(uid))?.id;
      if (id === undefined) return false;
      try {
        return (await deps.node().cri.podSandbox(id))?.state === SandboxState.ready;
      } catch {
        return true;
      }
    },
  };
}

const notOurNetwork = (endpoint: string): HeddleError =>
  new HeddleError('CriNetwork', `the container runtime at ${endpoint} gave the pod a network of its own`, {
    hint: 'its first list of networks is not Heddle\'s: "heddle cni install --pods" writes one that is',
  });
