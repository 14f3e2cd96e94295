/** Taking back what an attachment was given, by what the book says of it; DEL, GC and the next start do it alike. */
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import { closeNetns, type Netns, openNetns } from '../kernel/netns.ts';
import type { Route } from '../kernel/route.ts';
import { attachmentKey, baseAttachment, type Details, detailsOf, markOf } from './attachment.ts';
import { undressChained } from './chained.ts';
import type { HostPorts } from './host-ports.ts';
import { type DhcpLeases, releaseSource } from './leases/source.ts';
import type { Mains } from './main/attach.ts';
import { withRoute } from './main/inside.ts';
import { removeSlave } from './main/slaves.ts';
import type { Metas } from './meta/metas.ts';
import { hostInterfaceName } from './names.ts';
import type { Attachment } from './types.ts';

export interface UndoDeps {
  readonly ipam: Pick<Ipam, 'get' | 'list' | 'release'>;
  readonly node: Route;
  readonly hostPorts?: HostPorts | undefined;
  readonly mains?: Mains | undefined;
  /** Where there are no mains. */
  readonly dhcp?: DhcpLeases | undefined;
  readonly metas?: Metas | undefined;
}

/**
 * The address last: whoever finds it in the books after a crash knows that the rest may still be there.
 * @param netns what the runtime says now; the book's where it says nothing
 */
export async function undo(deps: UndoDeps, attachment: Attachment, netns = ''): Promise<void> {
  const { ipam, node, hostPorts, mains, metas } = deps;
  const key = attachmentKey(attachment);
  const mark = markIn(ipam, attachment);
  const held = ipam.get(key) ?? ipam.list().find((each) => detailsOf(each).mark === mark);
  const details: Details = held ? detailsOf(held) : {};
  const inside = (use: (ns: Netns) => void) => inNetnsOf(netns || (details.netns ?? ''), use);

  if (mayHaveRules(held, attachment)) await metas?.firewall.revoke(mark, details.firewall);
  if (details.tuning)
    inside((ns) => metas?.tuning.restore(ns, baseAttachment(attachment).ifName, details.tuning));
  await releaseSource(details.source, attachment, mains?.dhcp ?? deps.dhcp);
  if (details.main === 'macvlan' || details.main === 'ipvlan') inside((ns) => removeSlave(ns, attachment));
  else if (details.meta === undefined && details.chained === undefined) await node.removeLink(mark);
  if (details.chained !== undefined && details.bandwidth !== undefined) undressChained(node, details.chained);
  hostPorts?.withdraw(mark);
  mains?.rules.clear(mark);
  await ipam.release(held?.key ?? key);
}

/** Of one that the book has by its mark alone, that is. */
function markIn(ipam: UndoDeps['ipam'], attachment: Attachment): string {
  const held = ipam.get(attachmentKey(attachment));
  return held ? markOf(held) : hostInterfaceName(attachment);
}

/** A book that was lost cannot say what the firewall was told to allow. */
function mayHaveRules(held: Allocation | undefined, { ifName }: Attachment): boolean {
  if (!held) return ifName.endsWith(':firewall');
  const { firewall, found } = detailsOf(held);
  return firewall !== undefined || found === true;
}

/** The container's own end, whoever made it; the other end goes with it. */
export const removeInside = (netns: string, ifName: string): void =>
  inNetnsOf(netns, (ns) =>
    withRoute(ns, (route) => {
      const kind = route.link(ifName)?.kind;
      if (kind === 'veth' || kind === 'macvlan' || kind === 'ipvlan') route.deleteLink(ifName);
    }),
  );

/** Nothing happens where the namespace is gone: what was in it is gone too. */
function inNetnsOf(path: string, use: (ns: Netns) => unknown): void {
  let ns: Netns;
  try {
    if (path === '') return;
    ns = openNetns(path);
  } catch {
    return;
  }
  try {
    use(ns);
  } finally {
    closeNetns(ns);
  }
}
