/** CHECK: is everything that an attachment was given still there? */
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import { closeNetns } from '../kernel/netns.ts';
import { openRoute, type Route } from '../kernel/route.ts';
import { isShaped } from '../kernel/shaper.ts';
import { hostPrefix } from './attach.ts';
import { attachmentKey, type Details, detailsOf, holderOf, metaAttachment } from './attachment.ts';
import { CniCode, CniError } from './error.ts';
import type { HostPorts } from './host-ports.ts';
import type { Mains } from './main/attach.ts';
import { mainFaults } from './main/check.ts';
import { metaFields, metaKindOf, tuningOf } from './meta/config.ts';
import type { Metas } from './meta/metas.ts';
import { hostInterfaceName } from './names.ts';
import { openPod } from './open-pod.ts';
import { addressesIn, interfaceIn, prevResultOf } from './prev-result.ts';
import type { CniRequest, CniResult } from './types.ts';
import { wishesOf } from './wishes.ts';

export interface CheckDeps {
  ipam: Ipam;
  node: Route;
  hostPorts?: HostPorts;
  mains?: Mains;
  metas?: Metas;
}

/** @throws CniError with all that is wrong, in words */
export async function checkAttachment(request: CniRequest, deps: CheckDeps): Promise<void> {
  const prev = prevResultOf(request);
  if (!prev)
    throw new CniError(CniCode.invalidConfig, 'prevResult is missing; CHECK needs what ADD ended with');
  const meta = metaKindOf(request.config);
  const attachment = meta === undefined ? request : metaAttachment(request, meta);
  const key = attachmentKey(attachment);
  const allocation = deps.ipam.get(key);
  if (!allocation) throw new CniError(CniCode.unknownContainer, `${key} is not attached`);
  const details = detailsOf(allocation);
  const faults = [
    ...(meta === undefined ? connectionFaults(request, prev, allocation, deps) : []),
    ...missingPorts(hostInterfaceName(attachment), allocation, deps.hostPorts),
    ...(await functionFaults(request, hostInterfaceName(attachment), details, deps.metas)),
  ];
  if (faults.length > 0) throw new CniError(CniCode.failed, faults.join('; '));
}

function connectionFaults(
  request: CniRequest,
  prev: CniResult,
  allocation: Allocation,
  deps: CheckDeps,
): string[] {
  const details = detailsOf(allocation);
  if (details.main !== undefined) return mainFaults({ request, prev, details, ...deps });
  return [
    ...differences(request, prev, allocation.addresses),
    ...inspect(request, details, allocation.addresses, deps),
  ];
}

async function functionFaults(
  request: CniRequest,
  mark: string,
  { firewall }: Details,
  metas: Metas | undefined,
): Promise<string[]> {
  const tuning = metaFields(request.config, 'tuning');
  const faults = firewall && metas ? await metas.firewall.missing(mark, firewall) : [];
  if (!tuning || !metas) return faults;
  const netns = openPod(request.netns);
  try {
    const config = tuningOf(tuning, request, wishesOf(request));
    return [...faults, ...metas.tuning.faults(netns, request.ifName, config)];
  } finally {
    closeNetns(netns);
  }
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

function missingPorts(link: string, allocation: Allocation, hostPorts: HostPorts | undefined): string[] {
  const { ports = [] } = detailsOf(allocation);
  if (ports.length === 0) return [];
  return hostPorts?.missing({ link, ports, ...holderOf(allocation) }) ?? [];
}
