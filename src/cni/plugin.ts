/** What the plugin of type `heddle-cni` does, in the agent, with the node's address pools and namespace. */
import { statSync } from 'node:fs';
import { DEFAULT_POOL, sumByPool } from '../ipam/blocks.ts';
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import { errnoCode, HeddleError, errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { closeNetns, type Netns, openNetns } from '../kernel/netns.ts';
import { type Link, openRoute, type Route } from '../kernel/route.ts';
import { attach, detach, type Ends, finish, GATEWAY_4, GATEWAY_6, hostPrefix } from './attach.ts';
import { attachmentKey, attachmentOf, detailsFor, detailsOf } from './attachment.ts';
import { createAttempts } from './attempts.ts';
import { dressChained, undressChained } from './chained.ts';
import { CniCode, CniError } from './error.ts';
import { checkAttachment } from './check.ts';
import type { HostPorts } from './host-ports.ts';
import { hostInterfaceName, ownerAlias } from './names.ts';
import { interfaceIn, mergeResults, prevResultOf } from './prev-result.ts';
import type { CniHandlers } from './server.ts';
import { createTurns } from './turns.ts';
import type { CniRequest, CniResult } from './types.ts';
import { checkPorts, type Wishes, wishesOf } from './wishes.ts';

export interface PluginDeps {
  ipam: Ipam;
  /** rtnetlink of the node's namespace. */
  node: Route;
  /** MTU of pod interfaces when the configuration has no `mtu`. */
  mtu: number;
  /** Told of the host's end of a new link before it is up: what may pass it is decided there. */
  guard?: (link: Link) => void;
  /** Who leads ports of the node to containers; without, portMappings are refused. */
  hostPorts?: HostPorts;
  /** What the node sends to pods from, one per family at most. */
  sources?: readonly string[];
  /** Why containers that are there cannot be reached as they should, for STATUS. */
  limits?: () => string[];
  log: Log;
}

/** The pod an attachment is for, from CNI_ARGS; runtimes other than Kubernetes' give none. */
export function podOf({ args, containerId }: CniRequest): { namespace: string; name: string; uid: string } {
  return {
    namespace: args['K8S_POD_NAMESPACE'] ?? 'none',
    name: args['K8S_POD_NAME'] ?? containerId,
    uid: args['K8S_POD_UID'] ?? containerId,
  };
}

export function createPlugin(deps: PluginDeps): CniHandlers {
  const { ipam, node, hostPorts } = deps;
  const turns = createTurns();

  /** Nothing has been touched yet when one of these checks throws. */
  function prepare(request: CniRequest) {
    refuseOwnNamespace(request.netns);
    const wishes = wishesOf(request);
    checkPorts(wishes.ports);
    if (wishes.ports.length > 0 && !hostPorts)
      throw new CniError(
        CniCode.unsupportedField,
        `portMappings ${JSON.stringify(wishes.ports)} are not supported by the agent of a cluster's node: use a Service`,
      );
    return { wishes, prev: prevResultOf(request), netns: openPodNetns(request.netns) };
  }

  type Prepared = ReturnType<typeof prepare>;

  async function addTo(request: CniRequest, { wishes, prev, netns }: Prepared): Promise<CniResult> {
    const pod = podOf(request);
    const owner = { key: attachmentKey(request), label: `${pod.namespace}/${pod.name}` };
    const chained = interfaceIn(prev, request.ifName) !== undefined;
    try {
      if (prev && chained) {
        await dressChained({ request, prev, wishes, owner, netns, node, ipam, hostPorts });
        return { ...prev, cniVersion: request.cniVersion };
      }
      const allocation = await ipam.allocate(
        { ...owner, details: detailsFor(request, wishes) },
        wishFor(wishes),
      );
      const mtu = wishes.mtu ?? deps.mtu;
      const alias = ownerAlias(pod);
      const { addresses } = allocation;
      const defaults = !hasDefaultRoute(netns, request.ifName);
      const ends = attach({ ...deps, ...request, ...wishes, netns, alias, addresses, mtu, defaults });
      hostPorts?.publish({ link: ends.hostInterface, ports: wishes.ports, addresses });
      finish(node, ends.hostInterface, alias);
      return resultOf(request, prev, allocation, { ...ends, mtu, dns: wishes.dns, defaults });
    } catch (error) {
      await remove(request).catch(() => {});
      throw asCniError(error, `cannot attach ${request.ifName} of ${owner.label}`);
    }
  }

  /** The address last: whoever finds it in the books after a crash knows that the rest may still be there. */
  async function remove(attachment: { containerId: string; ifName: string }): Promise<void> {
    const key = attachmentKey(attachment);
    const held = ipam.get(key);
    const { chained } = held ? detailsOf(held) : {};
    if (chained === undefined) await detach(node, attachment);
    else undressChained(node, chained);
    hostPorts?.withdraw(hostInterfaceName(attachment));
    await ipam.release(key);
  }

  return {
    add: (request) =>
      turns.take(attachmentKey(request), async () => {
        const prepared = prepare(request);
        try {
          return await addTo(request, prepared);
        } finally {
          closeNetns(prepared.netns);
        }
      }),
    del: (request) => turns.take(attachmentKey(request), () => remove(request)),
    check: (request) => checkAttachment(request, deps),
    async status() {
      const full = sumByPool(ipam.usage()).find(
        ({ pool, taken, size }) => pool === DEFAULT_POOL && taken >= size,
      );
      if (full && !ipam.grows(DEFAULT_POOL))
        throw new CniError(CniCode.notAvailable, `no address left in ${full.cidrs.join(', ')}`);
      const limits = deps.limits?.() ?? [];
      if (limits.length > 0) throw new CniError(CniCode.limited, limits.join('; '));
    },
    async gc(request) {
      const valid = validAttachments(request);
      const all = createAttempts();
      for (const allocation of ipam.list()) {
        const { key, label } = allocation;
        const { network = request.config.name } = detailsOf(allocation);
        if (valid.has(key) || network !== request.config.name) continue;
        deps.log.info('removing an attachment that the runtime no longer knows', { key, pod: label });
        await all.try(key, () => turns.take(key, () => remove(attachmentOf(key))));
      }
      all.end();
    },
  };
}

const wishFor = ({ addresses, ranges }: Wishes) => ({
  ...(addresses.length > 0 ? { addresses } : {}),
  ...(ranges ? { within: ranges } : {}),
});

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

/** A further interface of a container leaves it the way out that it has. */
function hasDefaultRoute(netns: Netns, ifName: string): boolean {
  if (ifName === 'eth0') return false;
  const pod = openRoute(netns);
  try {
    const own = pod.link(ifName)?.index;
    return pod.routes().some(({ dst, dev }) => (dst === '0.0.0.0/0' || dst === '::/0') && dev !== own);
  } finally {
    pod.close();
  }
}

const codes: Readonly<Record<string, number>> = {
  AddressesExhausted: CniCode.exhausted,
  AddressTaken: CniCode.taken,
  HostPortTaken: CniCode.taken,
  AddressOutside: CniCode.invalidConfig,
};
/** Of the disk that the address book is on. */
const IO = new Set(['EIO', 'ENOSPC', 'EROFS', 'EACCES', 'EDQUOT', 'EMFILE', 'ENFILE']);

function asCniError(error: unknown, what: string): CniError {
  if (error instanceof CniError) return error;
  const known = error instanceof HeddleError ? codes[error.code] : undefined;
  const code = known ?? (IO.has(errnoCode(error) ?? '') ? CniCode.io : CniCode.failed);
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
  prev: CniResult | undefined,
  { addresses }: Allocation,
  made: Ends & { mtu: number; dns: Wishes['dns']; defaults: boolean },
): CniResult {
  const six = made.defaults && addresses.some((address) => address.includes(':'));
  const four = made.defaults && addresses.some((address) => !address.includes(':'));
  const ours = {
    interfaces: [
      { name: made.hostInterface, mac: made.hostMac, mtu: made.mtu },
      { name: request.ifName, mac: made.podMac, mtu: made.mtu, sandbox: request.netns },
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
    dns: made.dns,
  };
  return mergeResults(prev, ours, request.cniVersion);
}
