/**
 * The address book, written again from the kernel where it was lost: containers that run keep their network, nobody else
 * is given their addresses, and they can be taken away as ever. Links tell whose they are (`fullAlias`), rules by whose
 * mark they are; what neither tells (aliases, limits, settings before `tuning`) is lost.
 */
import type { Ipam } from '../../ipam/ipam.ts';
import { closeNetns, openNetns } from '../../kernel/netns.ts';
import { everyNetns } from '../../kernel/every-netns.ts';
import { type Link, PROTOCOL, type Route } from '../../kernel/route.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { attachmentKey, type Details, markOf } from '../attachment.ts';
import type { DhcpKeeper } from '../leases/dhcp/leases.ts';
import type { SavedSource } from '../leases/types.ts';
import type { RulesKeeper } from '../links.ts';
import type { MainKind } from '../main/types.ts';
import { bare, is6, withRoute } from '../main/inside.ts';
import { hostInterfaceName, isFinished, type Mark, parseFullAlias } from '../names.ts';
import type { KernelHostPorts } from './host-ports.ts';

export interface RebuildDeps {
  readonly node: Route;
  readonly ipam: Ipam;
  readonly hostPorts: KernelHostPorts;
  readonly rules: RulesKeeper;
  readonly dhcp: Pick<DhcpKeeper, 'list'>;
  readonly log: Pick<Log, 'warn'>;
}

/** The container's end. */
interface Inside {
  readonly netns: string;
  readonly ifName: string;
  readonly kind: string | undefined;
  /** With the lengths of their networks, one per family, IPv4 first; those of the link alone left out. */
  readonly addresses: readonly string[];
}

/** An attachment that no book names. */
interface Found {
  readonly mark: string;
  readonly says: Mark | undefined;
  readonly details: Details;
  /** Of our own pool. */
  readonly own: readonly string[];
}

/** @param isLost the whole book, and not a part of it. Says what was booked. @throws HeddleError of kernel/ and ipam */
export async function rebuildBook(deps: RebuildDeps, isLost: boolean): Promise<string[]> {
  const { node, ipam, hostPorts, rules } = deps;
  const known = new Set(ipam.list().map(markOf));
  const links = node.links().filter((link) => isFinished(link) && !known.has(link.name));
  const holders = [...hostPorts.holders(), ...rules.holders()].filter((mark) => !known.has(mark));
  if (!isLost && links.length === 0 && holders.length === 0) return [];
  const { ends, slaves, addresses } = lookInside(node, links);
  const booked: string[] = [];
  for (const found of [
    ...links.map((link) => foundAt(deps, link, ends.get(link.index))),
    ...slaves.map((slave) => foundSlave(deps, slave)),
  ]) {
    if (known.has(found.mark) || !(await book(deps, found))) continue;
    known.add(found.mark);
    booked.push(textOf(found));
  }
  for (const mark of new Set(holders)) {
    if (known.has(mark)) continue;
    const { ports, addresses: foreign, networks = [] } = hostPorts.held(mark);
    // Where they lead nowhere any more, nobody needs them.
    if (ports.length === 0 || !foreign.every((address) => addresses.has(address))) continue;
    const details = { found: true, meta: 'portmap', ports, foreign, networks } as const;
    const netns = addresses.get(foreign[0] ?? '') ?? '';
    const found = { mark, says: undefined, details: { ...details, netns }, own: [] };
    if (await book(deps, found)) booked.push(textOf(found));
  }
  return booked;
}

const textOf = ({ mark, says, own, details: { leased = [], ports = [] } }: Found): string => {
  const who = says ? `${attachmentKey(says.attachment)} of ${says.label}` : `whoever has ${mark}`;
  const has = own.length > 0 ? own : leased;
  const what = [...has, ...(ports.length === 0 ? [] : [`${ports.length} host ports`])];
  return `the address book had lost ${who}: ${what.join(', ') || 'no address'}`;
};

async function book({ ipam, log }: RebuildDeps, { mark, says, details, own }: Found): Promise<boolean> {
  const key = says ? attachmentKey(says.attachment) : `${mark}/?`;
  const label = says?.label ?? `unknown/${mark}`;
  const whole: Details = {
    ...details,
    ...(says && says.network !== '-' ? { network: says.network } : {}),
    ...(says ? {} : { mark }),
  };
  const isBooked = ipam.get(key) === undefined && (await ipam.claim({ key, label, details: whole }, own));
  if (!isBooked) log.warn('two claim to be one, or to have one address', { mark, label, addresses: own });
  return isBooked;
}

/** Whose the link says that it is, if it is the link of that one. */
function marked(name: string, alias: string | undefined): Mark | undefined {
  const says = parseFullAlias(alias);
  return says && hostInterfaceName(says.attachment) === name ? says : undefined;
}

function foundAt(deps: RebuildDeps, link: Link, inside: Inside | undefined): Found {
  const { node, ipam } = deps;
  const says = marked(link.name, link.alias);
  const routed = node
    .routes()
    .filter(({ dev, protocol, table }) => dev === link.index && protocol === PROTOCOL && table === 254)
    .map(({ dst }) => bare(dst));
  const main = mainOf(node, link);
  const had = main === undefined || main === 'ptp' ? routed : (inside?.addresses ?? []).map(bare);
  const own = had
    .filter((address) => ipam.covers(address))
    .toSorted((a, b) => Number(is6(a)) - Number(is6(b)));
  const details = detailsFrom(deps, { mark: link.name, says, main, inside });
  return { mark: link.name, says, own: main === undefined || isOwn(details) ? own : [], details };
}

function foundSlave(deps: RebuildDeps, { says, inside }: Slave): Found {
  const main = inside.kind === 'ipvlan' ? 'ipvlan' : 'macvlan';
  const mark = hostInterfaceName(says.attachment);
  const details = detailsFrom(deps, { mark, says, main, inside });
  return { mark, says, own: isOwn(details) ? inside.addresses.map(bare) : [], details };
}

const isOwn = ({ source }: Details): boolean => source?.type === 'own';

/** ptp: the machine's end has the gateway's address. Of a routed link of Heddle's it has none. */
function mainOf(node: Route, link: Link): MainKind | undefined {
  if (link.master !== undefined) return 'bridge';
  return node.addresses().some((each) => each.link === link.index && !each.address.startsWith('fe80:'))
    ? 'ptp'
    : undefined;
}

interface Known {
  readonly mark: string;
  readonly says: Mark | undefined;
  readonly main: MainKind | undefined;
  readonly inside: Inside | undefined;
}

function detailsFrom(deps: RebuildDeps, { mark, says, main, inside }: Known): Details {
  const { ports } = deps.hostPorts.held(mark);
  const { masquerade, mac } = deps.rules.held(mark);
  const leased = inside?.addresses ?? [];
  return {
    found: true,
    ...(ports.length > 0 ? { ports } : {}),
    ...(inside ? { netns: inside.netns } : {}),
    ...(main === undefined ? {} : { main, leased, source: sourceOf(deps, says, leased) }),
    ...(masquerade ? { masquerade } : {}),
    ...(mac === undefined ? {} : { mac }),
  };
}

/** What host-local has is in its own files, which DEL looks into. */
function sourceOf(
  { ipam, dhcp }: RebuildDeps,
  says: Mark | undefined,
  leased: readonly string[],
): SavedSource {
  const key = says && attachmentKey(says.attachment);
  if (dhcp.list().some(({ attachment }) => attachment === key)) return { type: 'dhcp' };
  const isOurs = leased.length > 0 && leased.every((address) => ipam.covers(bare(address)));
  return { type: isOurs ? 'own' : 'none' };
}

interface Slave {
  readonly says: Mark;
  readonly inside: Inside;
}

/** What links of the machine call a namespace, and what links in there call the machine's. */
interface Ids {
  readonly there: number | undefined;
  readonly back: number | undefined;
}

/** Every namespace that can be found is visited once. */
function lookInside(node: Route, links: readonly Link[]) {
  const ends = new Map<number, Inside>();
  const slaves: Slave[] = [];
  /** Where each address is. */
  const addresses = new Map<string, string>();
  for (const path of everyNetns().values())
    visit(path, (route, { there: id, back }) => {
      const here = route.addresses();
      for (const link of route.links()) {
        const inside = insideOf(path, link, here);
        if (link.kind === 'veth' || link.kind === 'macvlan' || link.kind === 'ipvlan')
          for (const address of inside.addresses) addresses.set(bare(address), path);
        const end = id === undefined ? undefined : links.find((each) => leadsTo(each, link, id));
        if (end) ends.set(end.index, inside);
        // What another machine's container says of itself is nothing to this one.
        const isSlave = (link.kind === 'macvlan' || link.kind === 'ipvlan') && back !== undefined;
        const says = isSlave && link.peerNamespace === back ? parseFullAlias(link.alias) : undefined;
        if (says?.attachment.ifName === link.name) slaves.push({ says, inside });
      }
    });
  return { ends, slaves, addresses };

  function visit(path: string, use: (route: Route, ids: Ids) => void): void {
    let ns;
    try {
      ns = openNetns(path);
    } catch {
      return;
    }
    try {
      withRoute(ns, (route) => use(route, { there: node.namespaceId(ns), back: route.namespaceId(node.ns) }));
    } catch (error) {
      // Gone meanwhile, or not ours to look into.
      if (!/ENOENT|EPERM|EINVAL|ENODEV/.test(errorText(error))) throw error;
    } finally {
      closeNetns(ns);
    }
  }
}

const leadsTo = (end: Link, link: Link, namespace: number): boolean =>
  end.peer === link.index && end.peerNamespace === namespace && link.peer === end.index;

function insideOf(
  netns: string,
  { index, name, kind }: Link,
  all: readonly { link: number; address: string }[],
): Inside {
  const own = all.flatMap(({ link, address }) =>
    link === index && !address.startsWith('fe80:') ? [address] : [],
  );
  const firstOf = (six: boolean) => own.filter((address) => is6(address) === six).slice(0, 1);
  return { netns, ifName: name, kind, addresses: [...firstOf(false), ...firstOf(true)] };
}
