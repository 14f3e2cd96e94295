/** ADD of the main plugins: book, link, addresses, rules, in an order that leaves nothing unknown when it is cut. */
import type { Ipam, Owner } from '../../ipam/ipam.ts';
import type { Netns } from '../../kernel/netns.ts';
import type { Route } from '../../kernel/route.ts';
import { finish } from '../attach.ts';
import { type Details, detailsFor, detailsOf, holderOf, rulesOf } from '../attachment.ts';
import { shapeEnds } from '../bandwidth.ts';
import { CniCode, CniError } from '../error.ts';
import type { HostPorts } from '../host-ports.ts';
import type { DhcpLeases } from '../leases/source.ts';
import { type Source, sourceOf } from '../leases/source.ts';
import type { Lease } from '../leases/types.ts';
import type { RulesKeeper } from '../links.ts';
import { fullAlias, hostInterfaceName, ownerAlias } from '../names.ts';
import { type OwnDns, waysOut, withOwnDns } from '../own-dns.ts';
import { mergeResults } from '../prev-result.ts';
import type { Log } from '../../lib/log.ts';
import type { CniRequest, CniResult } from '../types.ts';
import type { PodWishes, Wishes } from '../wishes.ts';
import { bridgeMain } from './bridge.ts';
import { bringUp, linkInside, refuseTaken, withRoute } from './inside.ts';
import { ptpMain } from './ptp.ts';
import { ipvlanMain, macvlanMain, removeSlave } from './slaves.ts';
import type { Main, MainContext, MainKind, MadeLink, Settled } from './types.ts';

/** What an agent needs to connect containers in other ways than its own. */
export interface Mains {
  readonly rules: RulesKeeper;
  readonly dhcp: DhcpLeases;
  /** Turns forwarding on for the families of these addresses. */
  readonly forward: (addresses: readonly string[]) => void;
}

export interface AttachMainOptions extends Mains {
  readonly kind: MainKind;
  readonly request: CniRequest;
  readonly prev: CniResult | undefined;
  readonly wishes: Wishes;
  readonly owner: Owner;
  readonly pod: Parameters<typeof ownerAlias>[0];
  readonly netns: Netns;
  readonly node: Route;
  readonly ipam: Ipam;
  readonly hostPorts: HostPorts | undefined;
  readonly dns: OwnDns | undefined;
  readonly log: Pick<Log, 'warn'>;
}

const mains: Readonly<Record<MainKind, (context: MainContext) => Main>> = {
  bridge: bridgeMain,
  ptp: ptpMain,
  macvlan: macvlanMain,
  ipvlan: ipvlanMain,
};

/** The caller undoes what a failure leaves. @throws CniError, HeddleError */
export async function attachMain(options: AttachMainOptions): Promise<CniResult> {
  const { kind, request, prev, wishes, owner, netns, node, ipam } = options;
  const alias = fullAlias(ownerAlias(options.pod), request.config.name ?? '-', request);
  const context = { ...wishes, request, node, netns, alias, forward: options.forward };
  const main = mains[kind](context);
  const source = sourceOf(request, wishes, { ...options, ranges: () => ranges(ipam) }, main.routed);
  refuseMisfits(main, source, options);

  dropEarlier(options);
  // Before the book says that it is ours.
  refuseTaken({ netns, ifName: request.ifName });
  const base: Details = {
    ...detailsFor(request, wishes),
    main: kind,
    source: source.saved,
    netns: request.netns,
  };
  const own = await ipam.allocate(
    { ...owner, details: { ...base, making: true } },
    source.saved.type === 'own' ? wishFor(wishes) : { none: true },
  );
  const early = source.needsLink ? undefined : await source.obtain(own.addresses);
  const made = main.make(context);
  if (source.needsLink) bringUp({ netns, ifName: request.ifName });
  const lease = early ?? (await source.obtain([]));
  const settled = main.settle(context, made, lease);
  limit(options, made);
  await publish(options, { main, made, lease, base });
  if (made.host) finish(node, made.host.name, alias);
  else withRoute(netns, (inside) => inside.setLink(request.ifName, { alias }));
  const asked = dnsOf(wishes, request, lease);
  if (!main.routed && options.dns && (asked.nameservers ?? []).length === 0)
    options.log.warn(
      'no names: the DNS of this agent is out of reach of the container, and no other is named',
      {
        container: request.containerId,
        interface: request.ifName,
        kind,
      },
    );
  const dns = main.routed ? withOwnDns(asked, options.dns, waysOut(settled.routes)) : asked;
  return resultOf(prev, { request, made, lease, settled, dns });
}

/** What an earlier try, or an ADD of the same before, made; its addresses stay with it. */
function dropEarlier({ request, node, netns, ipam, owner }: AttachMainOptions): void {
  node.deleteLink(hostInterfaceName(request));
  const before = ipam.get(owner.key);
  const main = before && detailsOf(before).main;
  if (main === 'macvlan' || main === 'ipvlan') removeSlave(netns, request);
}

const ranges = (ipam: Ipam): string[] => ipam.usage().map(({ cidr }) => cidr);

/** What the request itself says goes before what is said of the pod. */
export const wishFor = ({ addresses, ranges: within }: Wishes, said: PodWishes = {}) => {
  const fixed = addresses.length > 0 ? addresses : said.addresses;
  return {
    ...(fixed ? { addresses: fixed } : {}),
    ...(within ? { within } : {}),
    ...(said.pools ? { pools: said.pools } : {}),
  };
};

function refuseMisfits(main: Main, source: Source, { kind, wishes, hostPorts }: AttachMainOptions): void {
  const refuse = (what: string, why: string): never => {
    throw new CniError(CniCode.unsupportedField, `${what} is not supported with heddle-${kind}: ${why}`);
  };
  if (wishes.bandwidth && (kind === 'macvlan' || kind === 'ipvlan'))
    refuse(
      `bandwidth ${JSON.stringify(wishes.bandwidth)}`,
      'limits are for links with an end on the machine',
    );
  if (source.saved.type === 'dhcp' && !main.shared)
    refuse('ipam of the type dhcp', 'no server is on the link');
  if (wishes.ports.length > 0 && (!hostPorts || kind === 'macvlan' || kind === 'ipvlan' || !main.routed))
    refuse(
      `portMappings ${JSON.stringify(wishes.ports)}`,
      kind === 'bridge'
        ? 'the machine has no address on it without isGateway'
        : 'its packets do not pass the machine',
    );
  if (main.disabled && source.saved.type !== 'none')
    throw new CniError(
      CniCode.invalidConfig,
      'disableContainerInterface leaves no interface to have addresses: expected ipam: {}',
    );
}

function limit({ wishes, netns, node, request }: AttachMainOptions, made: MadeLink): void {
  if (!wishes.bandwidth || !made.host) return;
  const pod = linkInside({ netns, ifName: request.ifName }).index;
  shapeEnds(wishes.bandwidth, { nodeNs: node.ns, host: made.host.index, netns, pod });
}

interface Parts {
  readonly main: Main;
  readonly made: MadeLink;
  readonly lease: Lease;
  readonly base: Details;
}

/** The book knows of everything before the kernel does. */
async function publish(options: AttachMainOptions, { main, made, lease, base }: Parts): Promise<void> {
  const { ipam, owner, request, wishes, hostPorts, rules } = options;
  const leased = lease.addresses.map(({ address }) => address);
  const mac = made.interfaces.at(-1)?.mac;
  const details: Details = {
    ...base,
    leased,
    ...(main.masquerade && leased.length > 0 ? { masquerade: leased } : {}),
    ...(main.checkMac && mac !== undefined ? { mac } : {}),
  };
  const link = hostInterfaceName(request);
  await ipam.allocate({ ...owner, details: { ...details, making: true } });
  const wanted = rulesOf(link, details);
  if (wanted) rules.set(wanted);
  hostPorts?.publish({ link, ports: wishes.ports, ...holderOf({ addresses: [], details }) });
  await ipam.allocate({ ...owner, details });
}

function dnsOf(wishes: Wishes, { config }: CniRequest, lease: Lease) {
  const asked = wishes.dns;
  const configured = Object.keys(asked).length > 0 || config.dns !== undefined;
  return configured ? { ...lease.dns, ...asked } : lease.dns;
}

function resultOf(
  prev: CniResult | undefined,
  {
    request,
    made,
    lease,
    settled,
    dns,
  }: {
    request: CniRequest;
    made: MadeLink;
    lease: Lease;
    settled: Settled;
    dns: NonNullable<CniResult['dns']>;
  },
): CniResult {
  const ours = {
    interfaces: [...made.interfaces],
    ips: lease.addresses.map(({ address }) => {
      const gateway = settled.gateways.get(address);
      return {
        address,
        ...(gateway === undefined || gateway === '' ? {} : { gateway }),
        interface: made.interfaces.length - 1,
      };
    }),
    routes: [...settled.routes],
    dns,
  };
  return mergeResults(prev, ours, request.cniVersion);
}
