/**
 * After a restart: the books, the kernel and the host ports agree again. What an earlier run was in the middle of is
 * taken back, be it an ADD (its link lacks the mark of a finished one) or a DEL (the link is gone, the address is not).
 */
import { existsSync } from 'node:fs';
import type { Allocation, Ipam } from '../ipam/ipam.ts';
import type { Link, Route } from '../kernel/route.ts';
import { hostPrefix, routeToPod } from './attach.ts';
import { attachmentOf, detailsOf, holderOf, markOf, rulesOf } from './attachment.ts';
import { CniCode } from './error.ts';
import type { HostPorts } from './host-ports.ts';
import type { RulesKeeper } from './links.ts';
import type { Mains } from './main/attach.ts';
import type { Metas } from './meta/metas.ts';
import { isFinished, isOwned } from './names.ts';
import { asCniError } from './plugin-error.ts';
import { undo } from './undo.ts';

export interface RecoverDeps {
  node: Route;
  ipam: Ipam;
  hostPorts?: HostPorts | undefined;
  sources?: readonly string[];
  mains?: Mains | undefined;
  metas?: Metas | undefined;
}

type ByName = Map<string, Allocation>;

/** Says what was removed or mended. @throws HeddleError of kernel/ and ipam */
export async function recover(deps: RecoverDeps): Promise<string[]> {
  const { node, ipam } = deps;
  const done: string[] = [];
  const links = new Map(node.links().map((link) => [link.name, link]));
  const kept: ByName = new Map();
  for (const allocation of ipam.list()) {
    const name = markOf(allocation);
    if (isWhole(allocation, name, links)) kept.set(name, allocation);
    else {
      // Between making a link and marking it there is a moment; the book knows its name.
      const link = links.get(name);
      if (link && (link.alias === undefined || isOwned(link.alias)) && node.deleteLink(name))
        done.push(`link ${name}`);
      done.push(await takeBack(deps, allocation));
    }
  }
  for (const { name, alias } of links.values())
    if (isOwned(alias) && !kept.has(name) && node.deleteLink(name))
      done.push(`link ${name}, which is nobody's`);
  return [
    ...done,
    ...mendRoutes(deps, kept, links),
    ...settlePorts(deps.hostPorts, kept),
    ...settleRules(deps.mains?.rules, kept),
    ...(await settleFirewall(deps.metas, kept)),
  ];
}

/** A full disk keeps no agent from serving those who are well: the book goes on to name it, for DEL, GC or the next start. */
async function takeBack(deps: RecoverDeps, { key, label }: Allocation): Promise<string> {
  try {
    await undo(deps, attachmentOf(key));
    return `addresses of ${label}`;
  } catch (error) {
    const failure = asCniError(error, `${key} of ${label} is taken back later`);
    if (failure.code !== CniCode.io) throw error;
    return failure.message;
  }
}

/** Whether what the book says of it is there. `name`: of its link. */
export function isWhole(allocation: Allocation, name: string, links: ReadonlyMap<string, Link>): boolean {
  const { chained, making, main, meta, netns = '' } = detailsOf(allocation);
  if (making) return false;
  if (chained !== undefined) return links.has(chained);
  // Nothing of these is on the machine: they are there as long as the container is.
  if (meta !== undefined || main === 'macvlan' || main === 'ipvlan') return existsSync(netns);
  return isFinished(links.get(name));
}

function mendRoutes(deps: RecoverDeps, kept: ByName, links: ReadonlyMap<string, Link>): string[] {
  const there = new Set(deps.node.routes().map(({ dst, dev }) => `${dst} ${dev}`));
  const done: string[] = [];
  for (const [name, allocation] of kept) {
    const link = links.get(name);
    const { main, leased = [] } = detailsOf(allocation);
    if (!link?.up || (main !== undefined && main !== 'ptp')) continue;
    const addresses = leased.map((address) => address.split('/')[0] ?? '');
    for (const address of main === undefined ? allocation.addresses : addresses) {
      if (there.has(`${hostPrefix(address)} ${link.index}`)) continue;
      routeToPod(main === undefined ? deps : { node: deps.node }, name, address);
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
    const { ports = [] } = detailsOf(allocation);
    const holder = { link, ports, ...holderOf(allocation) };
    if (ports.length === 0 || hostPorts.missing(holder).length === 0) continue;
    hostPorts.publish(holder);
    done.push(`host ports of ${allocation.label}`);
  }
  return done;
}

function settleRules(rules: RulesKeeper | undefined, kept: ByName): string[] {
  if (!rules) return [];
  const done: string[] = [];
  for (const link of rules.holders()) {
    if (kept.has(link)) continue;
    rules.clear(link);
    done.push(`rules of ${link}`);
  }
  for (const [link, allocation] of kept) {
    const wanted = rulesOf(link, detailsOf(allocation));
    if (!wanted || rules.missing(wanted).length === 0) continue;
    rules.set(wanted);
    done.push(`rules of ${allocation.label}`);
  }
  return done;
}

async function settleFirewall(metas: Metas | undefined, kept: ByName): Promise<string[]> {
  const done: string[] = [];
  for (const [mark, allocation] of kept) {
    const { firewall } = detailsOf(allocation);
    if (!firewall || !metas || (await metas.firewall.missing(mark, firewall)).length === 0) continue;
    await metas.firewall.allow(mark, firewall);
    done.push(`firewall of ${allocation.label}`);
  }
  return done;
}
