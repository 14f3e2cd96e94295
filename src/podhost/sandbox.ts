/** A pod's network namespace and its attachment, made and unmade in whole steps that can be repeated. */
import { statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Conflist, type RuntimeConf } from '../cni/conflist.ts';
import { CniCode, CniError } from '../cni/error.ts';
import type { CniResult } from '../cni/types.ts';
import { closeNetns, createNetns, deleteNetns, openNetns } from '../kernel/netns.ts';
import { bind } from '../kernel/mount.ts';
import { writeSysctl } from '../kernel/sysctl.ts';
import type { Pod } from '../api/types.ts';
import type { CriSandbox } from './cri/sandbox.ts';
import type { PodRecord } from './records.ts';

export interface SandboxEnds {
  readonly addresses: string[];
  readonly hostInterface: string | undefined;
  /** Of the pod's end. */
  readonly mac: string | undefined;
}

export interface Sandbox {
  /** Makes the namespace if need be and runs ADD. */
  setUp(record: PodRecord, pod: Pod): Promise<SandboxEnds>;
  /** True when what `setUp` made is still all there. */
  intact(record: PodRecord): Promise<boolean>;
  /** Runs DEL and removes the namespace; what is already gone is no error. */
  tearDown(record: PodRecord): Promise<void>;
}

const IF_NAME = 'eth0';

/** DNS (53) stays the node's: while its agent starts again, a pod would else answer for all pods of the node. */
const FIRST_PORT_ON_NODE = 54;

/** Tells a namespace from every other that is there at the time; undefined: there is none. */
export function netnsIdentity(path: string): string | undefined {
  return netnsAlive(path) ? String(statSync(path, { bigint: true }).ino) : undefined;
}

export function createSandbox(
  conflist: Conflist,
  cri: CriSandbox,
  hostAddresses: readonly string[],
): Sandbox {
  /** Uids of the pods on the node's network. */
  const onNode = new Set<string>();

  /** Nothing is made: the pod has the links and the addresses of its node. */
  function setUpOnNode({ uid, netns }: PodRecord): SandboxEnds {
    if (!netnsAlive(netns)) throw new Error(`${netns} is no network namespace: the node's is gone`);
    openNode(uid, netns);
    return { addresses: [...hostAddresses], hostInterface: undefined, mac: undefined };
  }

  function openNode(uid: string, netns: string): void {
    onNode.add(uid);
    prepareNetns(netns, { firstPort: FIRST_PORT_ON_NODE });
  }

  /** With the last one goes what was for them. Those of an earlier agent that were not looked at yet open it again. */
  function leaveNode({ uid, netns, nodeNetwork }: PodRecord): void {
    onNode.delete(uid);
    if (onNode.size === 0 && netnsIdentity(netns) === nodeNetwork)
      prepareNetns(netns, { firstPort: 1024, pingGroups: '1 0' });
  }

  /** The container runtime makes the namespace, and asks for its network in between. */
  async function setUpByCri(record: PodRecord, pod: Pod): Promise<SandboxEnds> {
    let result: CniResult | undefined;
    await cri.setUp(record, pod, async (netns) => {
      await adoptNetns(netns, record.netns);
      return (result = await conflist.add(runtimeConf(record)));
    });
    return fromResult(result!);
  }

  return {
    async setUp(record, pod) {
      if (record.nodeNetwork !== undefined) return setUpOnNode(record);
      if (record.runtime === 'cri') return setUpByCri(record, pod);
      if (!netnsAlive(record.netns)) await makeNetns(record.netns);
      return fromResult(await conflist.add(runtimeConf(record)));
    },
    async intact(record) {
      if (!record.addresses || !netnsAlive(record.netns)) return false;
      if (record.nodeNetwork !== undefined) {
        const isSame = netnsIdentity(record.netns) === record.nodeNetwork;
        if (isSame) openNode(record.uid, record.netns);
        return isSame;
      }
      try {
        await conflist.check(runtimeConf(record));
        return record.runtime !== 'cri' || (await cri.isReady(record.uid));
      } catch (error) {
        // Nobody could say: what runs is left alone.
        return error instanceof CniError && error.code === CniCode.tryAgain;
      }
    },
    async tearDown(record) {
      if (record.nodeNetwork !== undefined) return leaveNode(record);
      const netns = netnsAlive(record.netns) ? record.netns : '';
      await conflist.del({ ...runtimeConf(record), netns });
      deleteNetns(record.netns);
    },
  };
}

const runtimeConf = ({ uid, namespace, name, netns, hostPorts }: PodRecord): RuntimeConf => ({
  containerId: uid,
  ifName: IF_NAME,
  netns,
  args: {
    K8S_POD_NAMESPACE: namespace,
    K8S_POD_NAME: name,
    K8S_POD_UID: uid,
    K8S_POD_INFRA_CONTAINER_ID: uid,
  },
  ...(hostPorts ? { capabilities: { portMappings: hostPorts } } : {}),
});

/** A bound namespace is a file of nsfs; an ordinary file there is what a reboot leaves. */
function netnsAlive(path: string): boolean {
  try {
    return statSync(path).dev === statSync('/proc/self/ns/net').dev;
  } catch {
    return false;
  }
}

async function makeNetns(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  deleteNetns(path);
  closeNetns(createNetns(path));
  prepareNetns(path);
}

/** Shows the namespace `source` at `path`, for as long as the pod is here. */
async function adoptNetns(source: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  deleteNetns(path);
  await writeFile(path, '');
  bind(source, path);
  prepareNetns(path);
}

/** Who may ping without privileges, and from which port on users other than root listen. */
function prepareNetns(path: string, { firstPort = 0, pingGroups = '0 2147483647' } = {}): void {
  const ns = openNetns(path);
  try {
    writeSysctl(ns, 'net.ipv4.ping_group_range', pingGroups);
    writeSysctl(ns, 'net.ipv4.ip_unprivileged_port_start', firstPort);
  } finally {
    closeNetns(ns);
  }
}

function fromResult({ ips = [], interfaces = [] }: CniResult): SandboxEnds {
  const mine = ips.filter((ip) => ip.interface === undefined || interfaces[ip.interface]?.sandbox);
  const addresses = mine.map(({ address }) => address.split('/')[0]!);
  addresses.sort((a, b) => Number(a.includes(':')) - Number(b.includes(':')));
  return {
    addresses,
    hostInterface: interfaces.find(({ sandbox }) => !sandbox)?.name,
    mac: interfaces.find(({ sandbox }) => sandbox)?.mac,
  };
}
