/**
 * The address book, written again from the kernel where it was lost: containers that run keep their network, nobody else
 * is given their addresses, and they can be taken away as ever. Links tell whose they are (`fullAlias`), rules by whose
 * mark they are; what neither tells (aliases, limits, settings before `tuning`) is lost.
 */
import type { Ipam, Owner } from '../../ipam/ipam.ts';
import { type Link, PROTOCOL, type Route } from '../../kernel/route.ts';
import { contains, parseAddress, parseCidr } from '../../lib/ip.ts';
import type { Log } from '../../lib/log.ts';
import { attachmentKey, type Details, markOf } from '../attachment.ts';
import type { DhcpKeeper } from '../leases/dhcp/leases.ts';
import type { SavedSource } from '../leases/types.ts';
import type { RulesKeeper } from '../links.ts';
import type { MainKind } from '../main/types.ts';
import { asHost, bare, is6 } from '../main/inside.ts';
import { CniCode } from '../error.ts';
import { asCniError } from '../plugin-error.ts';
import { hostInterfaceName, isFinished, type Mark, parseFullAlias } from '../names.ts';
import type { KernelHostPorts } from './host-ports.ts';
import { type Inside, lookInside, type Slave } from './look-inside.ts';

export interface RebuildDeps {
  readonly node: Route;
  readonly ipam: Ipam;
  readonly hostPorts: KernelHostPorts;
  readonly rules: RulesKeeper;
  readonly dhcp: Pick<DhcpKeeper, 'list'>;
  readonly log: Pick<Log, 'warn'>;
}

/** An attachment that no book names. */
interface Found {
  readonly mark: string;
  readonly says: Mark | undefined;
  readonly details: Details;
  /** Of our own pool. */
  readonly own: readonly string[];
  /** Its addresses are what the container says: those that the machine knows of go first. */
  readonly isToldInside: boolean;
}

/** @param isLost the whole book, and not a part of it. Says what was booked. @throws HeddleError of kernel/ and ipam */
export async function rebuildBook(deps: RebuildDeps, isLost: boolean): Promise<string[]> {
  const { node, ipam, hostPorts, rules } = deps;
  const known = new Set(ipam.list().map(markOf));
  const links = node.links().filter((link) => isFinished(link) && !known.has(link.name));
  const holders = new Set([...hostPorts.holders(), ...rules.holders()].filter((mark) => !known.has(mark)));
  if (!isLost && links.length === 0 && holders.size === 0) return [];
  const { ends, slaves, addresses } = lookInside(deps, links);
  const machine = { routes: node.routes(), addresses: node.addresses() };
  const found = links
    .map((link) => foundAt(deps, { link, machine, inside: ends.get(link.index) }))
    .toSorted((a, b) => Number(a.isToldInside) - Number(b.isToldInside));
  for (const { mark } of found) known.add(mark);
  const taken = new Set(
    [...ipam.list().map(({ addresses: own }) => own), ...found.map(({ own }) => own)].flat(),
  );
  for (const slave of slaves) {
    const one = foundSlave(deps, slave);
    // Such a link has nothing on the machine: who claims to be one that has lies.
    const isItself = slave.says !== undefined && !known.has(one.mark) && !holders.has(one.mark);
    const free = one.own.filter((address) => !taken.has(address));
    if (!isItself && free.length === 0) continue;
    found.push(isItself ? one : withoutName(slave, free));
    if (isItself) known.add(one.mark);
    for (const address of free) taken.add(address);
  }
  for (const mark of holders) {
    if (known.has(mark)) continue;
    const { ports, addresses: foreign, networks = [] } = hostPorts.held(mark);
    // Where they lead nowhere any more, nobody needs them.
    if (ports.length === 0 || !foreign.every((address) => addresses.has(address))) continue;
    const details = { found: true, meta: 'portmap', ports, foreign, networks } as const;
    const netns = addresses.get(foreign[0] ?? '') ?? '';
    found.push({ mark, says: undefined, details: { ...details, netns }, own: [], isToldInside: false });
  }
  await book(deps, found);
  return found.map(textOf);
}

const textOf = ({ mark, says, own, details: { leased = [], ports = [] } }: Found): string => {
  const who = says ? `${attachmentKey(says.attachment)} of ${says.label}` : `whoever has ${mark}`;
  const has = own.length > 0 ? own : leased;
  const what = [...has, ...(ports.length === 0 ? [] : [`${ports.length} host ports`])];
  return `the address book had lost ${who}: ${what.join(', ') || 'no address'}`;
};

/** All of them in one write: whoever is killed before it begins anew. */
async function book({ ipam, log }: RebuildDeps, found: readonly Found[]): Promise<void> {
  const { refused, saved } = ipam.adopt(found.map((one) => ({ owner: ownerOf(one), addresses: one.own })));
  for (const { key, address } of refused)
    log.warn('a container has an address that is not its own, or two have it', { key, address });
  try {
    await saved;
  } catch (error) {
    const failure = asCniError(error, 'the address book that was lost cannot be written');
    if (failure.code !== CniCode.io) throw error;
    log.warn('the address book is in memory only: the next start looks for all of it again', {
      error: failure.message,
    });
  }
}

function ownerOf({ mark, says, details }: Found): Owner {
  return {
    key: says ? attachmentKey(says.attachment) : `${mark}/?`,
    label: says?.label ?? `unknown/${mark}`,
    details: {
      ...details,
      ...(says && says.network !== '-' ? { network: says.network } : {}),
      ...(says ? {} : { mark }),
    },
  };
}

/** Its address is nobody else's while it is there; nothing that is another's goes with it. */
const withoutName = ({ inside: { netns } }: Slave, own: readonly string[]): Found => ({
  mark: `nameless-${own[0]}`,
  says: undefined,
  details: { found: true, main: 'macvlan', netns },
  own,
  isToldInside: true,
});

/** Whose the link says that it is, if it is the link of that one. */
function marked(name: string, alias: string | undefined): Mark | undefined {
  const says = parseFullAlias(alias);
  return says && hostInterfaceName(says.attachment) === name ? says : undefined;
}

interface At {
  readonly link: Link;
  readonly machine: Machine;
  readonly inside: Inside | undefined;
}

function foundAt(deps: RebuildDeps, { link, machine, inside }: At): Found {
  const says = marked(link.name, link.alias);
  const routed = machine.routes
    .filter(({ dev, protocol, table }) => dev === link.index && protocol === PROTOCOL && table === 254)
    .map(({ dst }) => bare(dst));
  const main = mainOf(machine, link);
  const leased = main === 'bridge' ? bridged(deps, link.name, inside) : withLengths(routed, inside);
  const details = detailsFrom(deps, { mark: link.name, says, main, inside, leased });
  const own = leased
    .map(bare)
    .filter((address) => deps.ipam.covers(address))
    .toSorted((a, b) => Number(is6(a)) - Number(is6(b)));
  return {
    mark: link.name,
    says,
    own,
    details,
    isToldInside: main === 'bridge',
  };
}

const withLengths = (addresses: readonly string[], inside: Inside | undefined): string[] =>
  addresses.map((one) => inside?.addresses.find((each) => bare(each) === one) ?? asHost(one));

/** What the machine's rules say of it goes before what is said in there. */
function bridged({ rules, hostPorts }: RebuildDeps, mark: string, inside: Inside | undefined): string[] {
  const { addresses, networks = [] } = hostPorts.held(mark);
  const ruled = [
    ...(rules.held(mark).masquerade ?? []),
    ...addresses.map((address) => {
      const network = networks.map(parseCidr).find((each) => contains(each, parseAddress(address)));
      return network ? `${address}/${network.length}` : asHost(address);
    }),
  ];
  return [false, true].flatMap((six) => {
    const one = [...ruled, ...(inside?.addresses ?? [])].find((address) => is6(address) === six);
    return one === undefined ? [] : [one];
  });
}

function foundSlave({ ipam, dhcp }: RebuildDeps, { says, inside }: Slave): Found {
  const main = inside.kind === 'ipvlan' ? 'ipvlan' : 'macvlan';
  const source = sourceOf({ ipam, dhcp }, says, inside.addresses);
  const details: Details = {
    found: true,
    main,
    leased: inside.addresses,
    source,
    netns: inside.netns,
  };
  const own = inside.addresses.map(bare).filter((address) => ipam.covers(address));
  const mark = says ? hostInterfaceName(says.attachment) : '';
  return { mark, says, own, details, isToldInside: true };
}

interface Machine {
  readonly routes: ReturnType<Route['routes']>;
  readonly addresses: ReturnType<Route['addresses']>;
}

/** ptp: the machine's end has the gateway's address. Of a routed link of Heddle's it has none. */
function mainOf({ addresses }: Machine, link: Link): MainKind | undefined {
  if (link.master !== undefined) return 'bridge';
  return addresses.some((each) => each.link === link.index && !each.address.startsWith('fe80:'))
    ? 'ptp'
    : undefined;
}

interface Known {
  readonly mark: string;
  readonly says: Mark | undefined;
  readonly main: MainKind | undefined;
  readonly inside: Inside | undefined;
  readonly leased: readonly string[];
}

function detailsFrom(deps: RebuildDeps, { mark, says, main, inside, leased }: Known): Details {
  const { ports } = deps.hostPorts.held(mark);
  const { masquerade, mac } = deps.rules.held(mark);
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
  { ipam, dhcp }: Pick<RebuildDeps, 'ipam' | 'dhcp'>,
  says: Mark | undefined,
  leased: readonly string[],
): SavedSource {
  const key = says && attachmentKey(says.attachment);
  if (dhcp.list().some(({ attachment }) => attachment === key)) return { type: 'dhcp' };
  const isOurs = leased.length > 0 && leased.every((address) => ipam.covers(bare(address)));
  return { type: isOurs ? 'own' : 'none' };
}
