/**
 * A pod's way to its node: a veth pair, the pod's addresses as /32 and /128, everything routed. The gateways
 * 169.254.1.1 and fe80::1 are on no link: permanent neighbour entries at both ends make every frame find its
 * way, so nothing is ever asked on the wire and the kernel's limit on learned neighbours does not matter.
 */
import { inNetns, type Netns } from '../kernel/netns.ts';
import { type Link, openRoute, type Route } from '../kernel/route.ts';
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts';
import { type Bandwidth, shapeEnds } from './bandwidth.ts';
import { hostInterfaceName, macAddresses, unfinishedAlias } from './names.ts';
import type { Attachment } from './types.ts';

export const GATEWAY_4 = '169.254.1.1';
export const GATEWAY_6 = 'fe80::1';

export interface AttachOptions extends Attachment {
  /** Opened in the node's namespace. */
  node: Route;
  /** The pod's namespace. */
  netns: Netns;
  /** Owner mark of the host's end. */
  alias: string;
  addresses: readonly string[];
  mtu: number;
  /** What the pod sends by its way out, where that is less than its link takes in. */
  limit?: number | undefined;
  /** Of the pod's end; one that follows from the attachment without. */
  mac?: string | undefined;
  bandwidth?: Bandwidth | undefined;
  /** Whether the pod's way out is this link. */
  defaults: boolean;
  /** What the node sends to pods from, one per family at most. */
  sources?: readonly string[] | undefined;
  /** The host's end, made and not yet up. */
  guard?: ((link: Link) => void) | undefined;
}

const is6 = (address: string): boolean => address.includes(':');
export const hostPrefix = (address: string): string => `${address}/${is6(address) ? 128 : 32}`;

export interface Ends {
  hostInterface: string;
  hostMac: string;
  podMac: string;
}

/**
 * Leaves nothing when it fails. The link counts as unfinished until `finish`.
 * @throws HeddleError `Netlink` and others of kernel/
 */
export function attach(options: AttachOptions): Ends {
  const hostInterface = hostInterfaceName(options);
  const mac = macAddresses(options);
  if (options.mac !== undefined) mac.pod = options.mac;
  // What an earlier try of the same attachment left.
  options.node.deleteLink(hostInterface);
  quietIpv6(options.netns, options.addresses.some(is6));
  const node = openRoute(options.node.ns, { remember: true });
  node.addVeth({
    name: hostInterface,
    alias: unfinishedAlias(options.alias),
    mtu: options.mtu,
    mac: mac.host,
    peer: { name: options.ifName, netns: options.netns, mtu: options.mtu, mac: mac.pod },
  });
  try {
    const host = node.link(hostInterface);
    if (host) options.guard?.(host);
    setUpPod(options, mac.host, host?.index ?? 0);
    setUpHost({ ...options, node }, hostInterface, mac.pod);
  } catch (error) {
    node.deleteLink(hostInterface);
    throw error;
  } finally {
    node.close();
  }
  return { hostInterface, hostMac: mac.host, podMac: mac.pod };
}

/** From now on a crash leaves the attachment as it is. */
export function finish(node: Route, hostInterface: string, alias: string): void {
  node.setLink(hostInterface, { alias });
}

/** Links made from now on announce nothing, ask for no router and use their addresses at once. */
function quietIpv6(netns: Netns, wanted: boolean): void {
  if (!wanted) return;
  inNetns(netns, () => {
    for (const scope of ['all', 'default'])
      for (const name of ['disable_ipv6', 'accept_ra', 'accept_dad', 'router_solicitations']) {
        const key = `net.ipv6.conf.${scope}.${name}`;
        // Some of them take the kernel's lock of all links to be written.
        if (readSysctl(undefined, key) !== '0') writeSysctl(undefined, key, 0);
      }
  });
}

function setUpPod(options: AttachOptions, hostMac: string, host: number): void {
  const { netns, ifName, addresses, bandwidth, defaults, limit } = options;
  const pod = openRoute(netns, { remember: true });
  try {
    pod.setLink('lo', { up: true });
    pod.setLink(ifName, { up: true });
    for (const address of addresses) {
      const [gateway, everywhere] = is6(address) ? [GATEWAY_6, '::/0'] : [GATEWAY_4, '0.0.0.0/0'];
      pod.replaceAddress(ifName, hostPrefix(address), { nodad: true });
      pod.replaceNeighbour({ dev: ifName, address: gateway, mac: hostMac });
      if (defaults)
        pod.replaceRoute({ dst: everywhere, via: gateway, dev: ifName, onlink: true, mtu: limit });
    }
    if (bandwidth)
      shapeEnds(bandwidth, { nodeNs: options.node.ns, host, netns, pod: pod.link(ifName)?.index ?? 0 });
  } finally {
    pod.close();
  }
}

function setUpHost(options: AttachOptions, hostInterface: string, podMac: string): void {
  options.node.setLink(hostInterface, { up: true, ipv6Addresses: 'none' });
  for (const address of options.addresses) {
    options.node.replaceNeighbour({ dev: hostInterface, address, mac: podMac });
    routeToPod(options, hostInterface, address);
  }
}

export function routeToPod(
  { node, sources = [] }: Pick<AttachOptions, 'node' | 'sources'>,
  hostInterface: string,
  address: string,
): void {
  const src = sources.find((source) => is6(source) === is6(address));
  node.replaceRoute({
    dst: hostPrefix(address),
    dev: hostInterface,
    ...(src === undefined ? {} : { src }),
  });
}
