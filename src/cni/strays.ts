/**
 * Where the address book and the kernel differ about pods that are there. The kernel is right: an address that a
 * pod has and the node leads to it is in use, whatever the book says, and must not be given to anybody else. An
 * address that a pod gave itself is none of these: no route leads there, and its packets are dropped as spoofed.
 */
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import { closeNetns, openNetns } from '../kernel/netns.ts';
import { PROTOCOL, type Link, type Route } from '../kernel/route.ts';
import { hostPrefix, routeToPod } from './attach.ts';
import { attachmentKey, attachmentOf, type Details, detailsOf } from './attachment.ts';
import { bare, withRoute } from './main/inside.ts';
import { hostInterfaceName, isFinished, parseOwnerAlias } from './names.ts';
import type { Orphan } from './orphans.ts';

/** What is known of a pod elsewhere than in the book and in the kernel's links. */
export interface PodTraces {
  /** Path of its namespace. */
  netnsOf(uid: string): string;
  /** What the book says of it beside its addresses. */
  detailsOf(uid: string): Details | undefined;
}

export interface StrayDeps extends PodTraces {
  /** rtnetlink of the node's namespace. */
  node: Route;
  ipam: Ipam;
}

const IF_NAME = 'eth0';

interface PodLink {
  readonly link: Link;
  readonly key: string;
  readonly label: string;
  readonly uid: string;
}

/** Of pods whose ADD has ended; of these only, where `known` names them. */
export function findStrays(deps: StrayDeps, known?: ReadonlySet<string>): Orphan[] {
  const { node, ipam } = deps;
  const pods = node.links().flatMap(podLinkOf);
  const owners = new Map(ipam.list().flatMap((each) => each.addresses.map((address) => [address, each])));
  const routed = Map.groupBy(node.routes().filter(isOurs), ({ dev }) => dev);
  return pods
    .filter(({ uid }) => known?.has(uid) ?? true)
    .flatMap((pod) => {
      const led = (routed.get(pod.link.index) ?? []).map(({ dst }) => bare(dst));
      const held = ipam.get(pod.key);
      const extra = led.filter((address) => !held?.addresses.includes(address));
      const inside = extra.length > 0 ? addressesIn(deps.netnsOf(pod.uid)) : undefined;
      return [
        ...extra.flatMap((address) => extraOf(deps, pod, { address, owner: owners.get(address), inside })),
        ...missing(deps, pod, held, led),
      ];
    });
}

/** Books what pods have, for an agent that begins: its book may have been lost. Says what that was. */
export async function bookWhatIsThere(deps: StrayDeps): Promise<string[]> {
  const booked: string[] = [];
  for (const { what, isBooking, remove } of findStrays(deps))
    if (isBooking && (await remove())) booked.push(what);
  return booked;
}

function podLinkOf(link: Link): PodLink[] {
  const owner = isFinished(link) ? parseOwnerAlias(link.alias ?? '') : undefined;
  if (!owner) return [];
  const attachment = { containerId: owner.uid, ifName: IF_NAME };
  if (hostInterfaceName(attachment) !== link.name) return [];
  const label = `${owner.namespace}/${owner.name}`;
  return [{ link, key: attachmentKey(attachment), label, uid: owner.uid }];
}

const isOurs = ({ dst, protocol }: { dst: string; protocol: number }): boolean =>
  protocol === PROTOCOL && dst === hostPrefix(bare(dst));

interface Extra {
  readonly address: string;
  readonly owner: Allocation | undefined;
  /** Undefined: the pod's namespace is gone. */
  readonly inside: ReadonlySet<string> | undefined;
}

function extraOf(deps: StrayDeps, pod: PodLink, { address, owner, inside }: Extra): Orphan[] {
  const { node, ipam } = deps;
  const { link, label } = pod;
  if (!owner && inside?.has(address)) {
    // Of no block any more: there is nobody to whom it could be given.
    if (!ipam.covers(address)) return [];
    const what = `address ${address}, which ${label} has and the book has not`;
    return [{ what, isBooking: true, remove: () => book(deps, pod, address) }];
  }
  const whose = owner ? `which is ${owner.label}’s` : 'which it does not have';
  return [
    {
      what: `route by ${link.name} of ${label} to ${address}, ${whose}`,
      remove: async () => {
        const right = owner && node.link(hostInterfaceName(attachmentOf(owner.key)));
        if (!right || !isFinished(right))
          return node.deleteRoute({ dst: hostPrefix(address), dev: link.name });
        routeToPod({ node }, right.name, address);
        return true;
      },
    },
  ];
}

function book({ ipam, detailsOf: detailsFrom }: StrayDeps, pod: PodLink, address: string): Promise<boolean> {
  const { key, label, uid } = pod;
  const details = detailsFrom(uid);
  return ipam.claim({ key, label, ...(details ? { details } : {}) }, [address]);
}

function missing(
  { node, ipam }: StrayDeps,
  { link, label, key }: PodLink,
  held: Allocation | undefined,
  led: readonly string[],
): Orphan[] {
  if (!held || !link.up || detailsOf(held).main !== undefined || detailsOf(held).chained !== undefined)
    return [];
  return held.addresses
    .filter((address) => !led.includes(address))
    .map((address) => ({
      what: `no route to ${address} of ${label}`,
      remove: async () => {
        if (!ipam.get(key)?.addresses.includes(address) || !isFinished(node.link(link.name))) return false;
        routeToPod({ node }, link.name, address);
        return true;
      },
    }));
}

function addressesIn(path: string): Set<string> | undefined {
  let netns;
  try {
    netns = openNetns(path);
  } catch {
    return undefined;
  }
  try {
    return withRoute(netns, (pod) => {
      const index = pod.link(IF_NAME)?.index;
      return new Set(pod.addresses().flatMap(({ link, address }) => (link === index ? [bare(address)] : [])));
    });
  } finally {
    closeNetns(netns);
  }
}
