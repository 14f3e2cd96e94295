/**
 * A pod's way to its node: a veth pair, the pod's addresses as /32 and /128, everything routed. The gateways
 * 169.254.1.1 and fe80::1 are on no link: permanent neighbour entries at both ends make every frame find its
 * way, so nothing is ever asked on the wire and the kernel's limit on learned neighbours does not matter.
 */
import { type Netns, openNetns, closeNetns } from '../kernel/netns.ts';
import { type Link, openRoute, type Route } from '../kernel/route.ts';
import { writeSysctl } from '../kernel/sysctl.ts';
import { hostInterfaceName, macAddresses } from './names.ts';
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
  /** The host's end, made and not yet up. */
  guard?: ((link: Link) => void) | undefined;
}

const is6 = (address: string): boolean => address.includes(':');
export const hostPrefix = (address: string): string => `${address}/${is6(address) ? 128 : 32}`;

/** Leaves nothing when it fails. @throws HeddleError `Netlink` and others of kernel/ */
export function attach(options: AttachOptions): { hostInterface: string; hostMac: string; podMac: string } {
  const hostInterface = hostInterfaceName(options);
  const mac = macAddresses(options);
  // What an earlier try of the same attachment left.
  options.node.deleteLink(hostInterface);
  quietIpv6(options.netns, options.addresses.some(is6));
  options.node.addVeth({
    name: hostInterface,
    alias: options.alias,
    mtu: options.mtu,
    mac: mac.host,
    peer: { name: options.ifName, netns: options.netns, mtu: options.mtu, mac: mac.pod },
  });
  try {
    guardLink(options, hostInterface);
    setUpPod(options, mac.host);
    setUpHost(options, hostInterface, mac.pod);
  } catch (error) {
    options.node.deleteLink(hostInterface);
    throw error;
  }
  return { hostInterface, hostMac: mac.host, podMac: mac.pod };
}

function guardLink({ node, guard }: AttachOptions, name: string): void {
  const link = guard && node.link(name);
  if (link) guard(link);
}

/** Links made from now on announce nothing, ask for no router and use their addresses at once. */
function quietIpv6(netns: Netns, wanted: boolean): void {
  if (!wanted) return;
  for (const scope of ['all', 'default'])
    for (const [key, value] of [
      ['disable_ipv6', 0],
      ['accept_ra', 0],
      ['accept_dad', 0],
      ['router_solicitations', 0],
    ] as const)
      writeSysctl(netns, `net.ipv6.conf.${scope}.${key}`, value);
}

function setUpPod({ netns, ifName, addresses }: AttachOptions, hostMac: string): void {
  const pod = openRoute(netns);
  try {
    pod.setLink('lo', { up: true });
    pod.setLink(ifName, { up: true });
    for (const address of addresses) {
      const [gateway, everywhere] = is6(address) ? [GATEWAY_6, '::/0'] : [GATEWAY_4, '0.0.0.0/0'];
      pod.replaceAddress(ifName, hostPrefix(address), { nodad: true });
      pod.replaceNeighbour({ dev: ifName, address: gateway, mac: hostMac });
      pod.replaceRoute({ dst: everywhere, via: gateway, dev: ifName, onlink: true });
    }
  } finally {
    pod.close();
  }
}

function setUpHost({ node, addresses }: AttachOptions, hostInterface: string, podMac: string): void {
  node.setLink(hostInterface, { up: true, ipv6Addresses: 'none' });
  for (const address of addresses) {
    node.replaceNeighbour({ dev: hostInterface, address, mac: podMac });
    node.replaceRoute({ dst: hostPrefix(address), dev: hostInterface });
  }
}

/** Routes and neighbours go with the link. True when there was something to remove. */
export function detach(node: Route, attachment: Attachment): boolean {
  return node.deleteLink(hostInterfaceName(attachment));
}

/** What is wrong with an attachment, in words; empty when all is as `attach` left it. */
export function inspect(
  node: Route,
  attachment: Attachment & { netns: string },
  addresses: readonly string[],
): string[] {
  const hostInterface = hostInterfaceName(attachment);
  if (!node.link(hostInterface)?.up) return [`the host's end ${hostInterface} is missing or down`];
  const netns = openNetns(attachment.netns);
  const pod = openRoute(netns);
  try {
    const link = pod.link(attachment.ifName);
    if (!link?.up) return [`the pod's end ${attachment.ifName} is missing or down`];
    const present = new Set(pod.addresses().map(({ address }) => address));
    return addresses
      .filter((address) => !present.has(address) && !present.has(hostPrefix(address)))
      .map((address) => `${attachment.ifName} lacks ${address}`);
  } finally {
    pod.close();
    closeNetns(netns);
  }
}
