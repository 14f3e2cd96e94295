/**
 * After a restart: the books, the kernel and the host ports agree again. What an earlier run was in the middle of is
 * taken back, be it an ADD (its link lacks the mark of a finished one) or a DEL (the link is gone, the address is not).
 */
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import type { Link, Route } from '../kernel/route.ts';
import { hostPrefix, routeToPod } from './attach.ts';
import { attachmentOf, detailsOf } from './attachment.ts';
import type { HostPorts } from './host-ports.ts';
import { hostInterfaceName, isFinished, isOwned } from './names.ts';

export interface RecoverDeps {
  node: Route;
  ipam: Ipam;
  hostPorts?: HostPorts | undefined;
  sources?: readonly string[];
}

type ByName = Map<string, Allocation>;

/** Says what was removed or mended. @throws HeddleError of kernel/ and ipam */
export async function recover(deps: RecoverDeps): Promise<string[]> {
  const { node, ipam } = deps;
  const done: string[] = [];
  const links = new Map(node.links().map((link) => [link.name, link]));
  const kept: ByName = new Map();
  for (const allocation of ipam.list()) {
    const name = hostInterfaceName(attachmentOf(allocation.key));
    if (isWhole(allocation, name, links)) kept.set(name, allocation);
    else {
      // Between making a link and marking it there is a moment; the book knows its name.
      const link = links.get(name);
      if (link && (link.alias === undefined || isOwned(link.alias)) && node.deleteLink(name))
        done.push(`link ${name}`);
      await ipam.release(allocation.key);
      done.push(`addresses of ${allocation.label}`);
    }
  }
  for (const { name, alias } of links.values())
    if (isOwned(alias) && !kept.has(name) && node.deleteLink(name))
      done.push(`link ${name}, which is nobody's`);
  return [...done, ...mendRoutes(deps, kept, links), ...settlePorts(deps.hostPorts, kept)];
}

function isWhole(allocation: Allocation, name: string, links: ReadonlyMap<string, Link>): boolean {
  const { chained } = detailsOf(allocation);
  return chained === undefined ? isFinished(links.get(name)) : links.has(chained);
}

function mendRoutes(deps: RecoverDeps, kept: ByName, links: ReadonlyMap<string, Link>): string[] {
  const there = new Set(deps.node.routes().map(({ dst, dev }) => `${dst} ${dev}`));
  const done: string[] = [];
  for (const [name, { addresses }] of kept) {
    const link = links.get(name);
    if (!link?.up) continue;
    for (const address of addresses) {
      if (there.has(`${hostPrefix(address)} ${link.index}`)) continue;
      routeToPod(deps, name, address);
      done.push(`route to ${address}`);
    }
  }
  return done;
}

function settlePorts(hostPorts: HostPorts | undefined, kept: ByName): string[] {
  if (!hostPorts) return [];
  const done: string[] = [];
  for (const link of hostPorts.holders()) {
    if (kept.has(link)) continue;
    hostPorts.withdraw(link);
    done.push(`host ports of ${link}`);
  }
  for (const [link, allocation] of kept) {
    const { ports = [], foreign } = detailsOf(allocation);
    const holder = { link, ports, addresses: foreign ?? allocation.addresses };
    if (ports.length === 0 || hostPorts.missing(holder).length === 0) continue;
    hostPorts.publish(holder);
    done.push(`host ports of ${allocation.label}`);
  }
  return done;
}
