/** What the plugin of type `heddle` does, in the agent, with the node's address pools and namespace. */
import { statSync } from 'node:fs';
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import { HeddleError, errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { closeNetns, openNetns } from '../kernel/netns.ts';
import type { Link, Route } from '../kernel/route.ts';
import { attach, detach, GATEWAY_4, GATEWAY_6, hostPrefix, inspect } from './attach.ts';
import { CniCode, CniError } from './error.ts';
import { ownerAlias } from './names.ts';
import type { CniHandlers } from './server.ts';
import type { Attachment, CniRequest, CniResult } from './types.ts';

export interface PluginDeps {
  ipam: Ipam;
  /** rtnetlink of the node's namespace. */
  node: Route;
  /** MTU of pod interfaces when the configuration has no `mtu`. */
  mtu: number;
  /** Told of the host's end of a new link before it is up: what may pass it is decided there. */
  guard?: (link: Link) => void;
  log: Log;
}

const attachmentKey = ({ containerId, ifName }: Attachment): string => `${containerId}/${ifName}`;

/** The pod an attachment is for, from CNI_ARGS; runtimes other than Kubernetes' give none. */
export function podOf({ args, containerId }: CniRequest): { namespace: string; name: string; uid: string } {
  return {
    namespace: args['K8S_POD_NAMESPACE'] ?? 'none',
    name: args['K8S_POD_NAME'] ?? containerId,
    uid: args['K8S_POD_UID'] ?? containerId,
  };
}

export function createPlugin(deps: PluginDeps): CniHandlers {
  const { ipam, node } = deps;

  /** Nothing has been touched yet when one of these checks throws. */
  function prepare(request: CniRequest) {
    refuseOwnNamespace(request.netns);
    return { mtu: mtuOf(request, deps.mtu), netns: openPodNetns(request.netns), pod: podOf(request) };
  }

  async function addTo(
    request: CniRequest,
    { mtu, netns, pod }: ReturnType<typeof prepare>,
  ): Promise<CniResult> {
    const label = `${pod.namespace}/${pod.name}`;
    try {
      const allocation = await ipam.allocate({ key: attachmentKey(request), label });
      const ends = attach({
        ...request,
        node,
        netns,
        alias: ownerAlias(pod),
        addresses: allocation.addresses,
        mtu,
        guard: deps.guard,
      });
      return resultOf(request, allocation, { ...ends, mtu });
    } catch (error) {
      await ipam.release(attachmentKey(request)).catch(() => {});
      throw asCniError(error, `cannot attach ${request.ifName} of ${label}`);
    }
  }

  return {
    async add(request) {
      const prepared = prepare(request);
      try {
        return await addTo(request, prepared);
      } finally {
        closeNetns(prepared.netns);
      }
    },
    async del(request) {
      detach(node, request);
      await ipam.release(attachmentKey(request));
    },
    async check(request) {
      const allocation = ipam.get(attachmentKey(request));
      if (!allocation)
        throw new CniError(CniCode.unknownContainer, `${attachmentKey(request)} is not attached`);
      const faults = inspect(node, request, allocation.addresses);
      if (faults.length > 0) throw new CniError(CniCode.failed, faults.join('; '));
    },
    async status() {
      const full = ipam.usage().find(({ taken, size }) => taken >= size);
      if (full) throw new CniError(CniCode.notAvailable, `no address left in ${full.cidr}`);
    },
    async gc(request) {
      const valid = validAttachments(request);
      for (const { key, label } of ipam.list()) {
        if (valid.has(key)) continue;
        const slash = key.lastIndexOf('/');
        deps.log.info('removing an attachment that the runtime no longer knows', { key, pod: label });
        detach(node, { containerId: key.slice(0, slash), ifName: key.slice(slash + 1) });
        await ipam.release(key);
      }
    },
  };
}

/** A runtime that names the node's own namespace would have us rename the node's links. */
function refuseOwnNamespace(path: string): void {
  const inode = (file: string) => {
    try {
      return statSync(file).ino;
    } catch {
      return undefined;
    }
  };
  const asked = inode(path);
  if (asked !== undefined && asked === inode('/proc/self/ns/net'))
    throw new CniError(CniCode.invalidEnvironment, `CNI_NETNS ${path} is the node's own network namespace`);
}

function openPodNetns(path: string) {
  try {
    return openNetns(path);
  } catch (error) {
    throw new CniError(CniCode.unknownContainer, `CNI_NETNS ${path} cannot be opened`, errorText(error));
  }
}

function mtuOf({ config }: CniRequest, fallback: number): number {
  const asked = config['mtu'];
  if (asked === undefined || asked === 0) return fallback;
  if (typeof asked === 'number' && Number.isInteger(asked) && asked >= 1280 && asked <= 65_535) return asked;
  throw new CniError(
    CniCode.invalidConfig,
    `mtu ${JSON.stringify(asked)} is not a number from 1280 to 65535`,
  );
}

function asCniError(error: unknown, what: string): CniError {
  if (error instanceof CniError) return error;
  const code =
    error instanceof HeddleError && error.code === 'AddressesExhausted' ? CniCode.exhausted : CniCode.failed;
  const hint = error instanceof HeddleError ? (error.hint ?? '') : '';
  return new CniError(code, `${what}: ${errorText(error)}`, hint, { cause: error });
}

function validAttachments({ config }: CniRequest): Set<string> {
  const list = config['cni.dev/valid-attachments'] ?? config['cni.dev/attachments'] ?? [];
  if (!Array.isArray(list))
    throw new CniError(CniCode.invalidConfig, 'cni.dev/valid-attachments is not a list');
  return new Set(
    list.map(
      ({ containerID, ifname }: { containerID?: string; ifname?: string }) => `${containerID}/${ifname}`,
    ),
  );
}

function resultOf(
  request: CniRequest,
  { addresses }: Allocation,
  ends: { hostInterface: string; hostMac: string; podMac: string; mtu: number },
): CniResult {
  const six = addresses.some((address) => address.includes(':'));
  const four = addresses.some((address) => !address.includes(':'));
  return {
    cniVersion: request.cniVersion,
    interfaces: [
      { name: ends.hostInterface, mac: ends.hostMac, mtu: ends.mtu },
      { name: request.ifName, mac: ends.podMac, mtu: ends.mtu, sandbox: request.netns },
    ],
    ips: addresses.map((address) => ({
      address: hostPrefix(address),
      gateway: address.includes(':') ? GATEWAY_6 : GATEWAY_4,
      interface: 1,
    })),
    routes: [
      ...(four ? [{ dst: '0.0.0.0/0', gw: GATEWAY_4 }] : []),
      ...(six ? [{ dst: '::/0', gw: GATEWAY_6 }] : []),
    ],
    dns: request.config.dns ?? {},
  };
}
