/** CHECK: is everything that an attachment was given still there? */
import type { Ipam } from '../ipam/ipam.ts';
import { closeNetns, type Netns, openNetns } from '../kernel/netns.ts';
import { openRoute, type Route } from '../kernel/route.ts';
import { isShaped } from '../kernel/shaper.ts';
import { errorText } from '../lib/errors.ts';
import { hostPrefix } from './attach.ts';
import { attachmentKey, type Details, detailsOf } from './attachment.ts';
import { CniCode, CniError } from './error.ts';
import type { HostPorts } from './host-ports.ts';
import { hostInterfaceName } from './names.ts';
import { addressesIn, interfaceIn, prevResultOf } from './prev-result.ts';
import type { CniRequest, CniResult } from './types.ts';

export interface CheckDeps {
  ipam: Ipam;
  node: Route;
  hostPorts?: HostPorts;
}

/** @throws CniError with all that is wrong, in words */
export async function checkAttachment(request: CniRequest, deps: CheckDeps): Promise<void> {
  const prev = prevResultOf(request);
  if (!prev)
    throw new CniError(CniCode.invalidConfig, 'prevResult is missing; CHECK needs what ADD ended with');
  const allocation = deps.ipam.get(attachmentKey(request));
  if (!allocation) throw new CniError(CniCode.unknownContainer, `${attachmentKey(request)} is not attached`);
  const details = detailsOf(allocation);
  const addresses = details.foreign ?? allocation.addresses;
  const faults = [
    ...differences(request, prev, allocation.addresses),
    ...inspect(request, details, allocation.addresses, deps),
    ...missingPorts(request, details, addresses, deps.hostPorts),
  ];
  if (faults.length > 0) throw new CniError(CniCode.failed, faults.join('; '));
}

/** A later plugin may have added to the result, and taken nothing of ours away. */
function differences({ ifName }: CniRequest, prev: CniResult, addresses: readonly string[]): string[] {
  const index = interfaceIn(prev, ifName);
  if (index === undefined) return [`prevResult does not name the interface ${ifName}`];
  const said = new Set(addressesIn(prev, index));
  return addresses
    .filter((address) => !said.has(address))
    .map((address) => `prevResult does not give ${ifName} its address ${address}`);
}

function inspect(
  request: CniRequest,
  { chained, bandwidth }: Details,
  addresses: readonly string[],
  { node }: CheckDeps,
): string[] {
  const name = chained ?? hostInterfaceName(request);
  const host = node.link(name);
  if (!host?.up) return [`the host's end ${name} is missing or down`];
  const faults = missingRoutes(node, host.index, addresses);
  if (bandwidth?.ingressRate !== undefined && !isShaped({ ifindex: host.index, ns: node.ns }))
    faults.push(`what ${request.ifName} is sent is not limited any more`);
  return [...faults, ...inspectPod(request, bandwidth?.egressRate !== undefined, addresses)];
}

function missingRoutes(node: Route, dev: number, addresses: readonly string[]): string[] {
  if (addresses.length === 0) return [];
  const there = new Set(node.routes().flatMap((route) => (route.dev === dev ? [route.dst] : [])));
  return addresses
    .filter((address) => !there.has(hostPrefix(address)))
    .map((address) => `the host has no route to ${address}`);
}

function inspectPod(request: CniRequest, limited: boolean, addresses: readonly string[]): string[] {
  const netns = openPod(request.netns);
  const pod = openRoute(netns);
  try {
    const link = pod.link(request.ifName);
    if (!link?.up) return [`the pod's end ${request.ifName} is missing or down`];
    const present = new Set(pod.addresses().map(({ address }) => address));
    const faults = addresses
      .filter((address) => !present.has(address) && !present.has(hostPrefix(address)))
      .map((address) => `${request.ifName} lacks ${address}`);
    if (limited && !isShaped({ ifindex: link.index, ns: netns }))
      faults.push(`what ${request.ifName} sends is not limited any more`);
    return faults;
  } finally {
    pod.close();
    closeNetns(netns);
  }
}

function openPod(path: string): Netns {
  try {
    return openNetns(path);
  } catch (error) {
    throw new CniError(CniCode.unknownContainer, `CNI_NETNS ${path} cannot be opened`, errorText(error));
  }
}

function missingPorts(
  request: CniRequest,
  { ports = [] }: Details,
  addresses: readonly string[],
  hostPorts: HostPorts | undefined,
): string[] {
  if (ports.length === 0) return [];
  return hostPorts?.missing({ link: hostInterfaceName(request), ports, addresses }) ?? [];
}
