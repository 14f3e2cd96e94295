/**
 * rtnetlink of one namespace: links, addresses, routes, neighbours. Everything is synchronous and takes
 * microseconds. Errors are HeddleError `Netlink` (`LinkMissing` where a link is named that is not there).
 */
import { HeddleError } from '../lib/errors.ts';
import {
  type BridgeOptions,
  bridgeParts,
  commonAttributes,
  IFF_UP,
  IFLA,
  type IpvlanMode,
  ipvlanParts,
  ipv6AddressMode,
  isolatedPort,
  type Link,
  type LinkChange,
  linkHeader,
  linkName,
  type MacvlanMode,
  macvlanParts,
  parseLink,
  type RouteTunnelOptions,
  routeTunnelParts,
  type SlaveOptions,
  type VethOptions,
  vethParts,
  type VxlanOptions,
  vxlanParts,
} from './link-codec.ts';
import { NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, parseAttributes, type Request, u32 } from './netlink.ts';
import { removeLater } from './link-removal.ts';
import { NETLINK_ROUTE, openNetlink } from './netlink-socket.ts';
import { currentNetns, type Netns } from './netns.ts';
import {
  type AddressOptions,
  addressParts,
  askedNeighbourParts,
  type FdbEntry,
  fdbDump,
  fdbParts,
  type LinkAddress,
  multipathParts,
  type Neighbour,
  neighbourDump,
  neighbourParts,
  parseFdb,
  parseLinkAddress,
  parseNeighbour,
  parseRoute,
  type RouteEntry,
  type RouteHop,
  routeKeyParts,
  type RouteOptions,
  routeParts,
  routeToParts,
} from './route-codec.ts';

export type {
  BridgeOptions,
  IpvlanMode,
  Link,
  LinkChange,
  MacvlanMode,
  RouteTunnelKind,
  RouteTunnelOptions,
  VethOptions,
  VxlanOptions,
} from './link-codec.ts';
export type {
  FdbEntry,
  LinkAddress,
  Neighbour,
  RouteEntry,
  RouteHop,
  RouteOptions,
  TunnelEnd,
} from './route-codec.ts';
export { PROTOCOL } from './route-codec.ts';

const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  GETNSID: 90,
} as const;

/** linux/net_namespace.h */
const NETNSA = { NSID: 1, FD: 3 } as const;
const NOT_ASSIGNED = -1;

const CREATE = NLM_F_CREATE | NLM_F_EXCL;
const REPLACE = NLM_F_CREATE | NLM_F_REPLACE;

export interface Route {
  /** Where it was opened, for ever. */
  readonly ns: Netns;
  link(name: string): Link | undefined;
  links(): Link[];
  /** What `Link.peerNamespace` calls this namespace; undefined where no link of here leads there. */
  namespaceId(other: Netns): number | undefined;
  addresses(): LinkAddress[];
  /** Of every table and both families. */
  routes(): RouteEntry[];
  /**
   * What a packet of this machine to `address` would take; undefined where there is no way. `asWritten`: the route
   * that leads there, with its own `dst`, protocol and metric.
   */
  routeTo(address: string, options?: { asWritten?: boolean }): RouteEntry | undefined;
  /** `link`: its index, to have those of one link alone. */
  neighbours(link?: number): Neighbour[];
  fdb(): FdbEntry[];

  /** Both ends are down. Fails where either name is taken. */
  addVeth(options: VethOptions): void;
  addBridge(options: BridgeOptions): void;
  /** Learning is off: every forwarding entry is written with `replaceFdb`. */
  addVxlan(options: VxlanOptions): void;
  addRouteTunnel(options: RouteTunnelOptions): void;
  addMacvlan(options: SlaveOptions<MacvlanMode>): void;
  addIpvlan(options: SlaveOptions<IpvlanMode>): void;
  setLink(name: string, change: LinkChange): void;
  /** False where it was not there. */
  deleteLink(name: string): boolean;
  /** The same, resolved when it is gone from the namespace, without waiting until the kernel has forgotten it. */
  removeLink(name: string): Promise<boolean>;

  /** `address` is `10.0.0.1/24`. `nodad`: an IPv6 address is usable at once. */
  replaceAddress(link: string, address: string, options?: AddressOptions): void;
  deleteAddress(link: string, address: string): boolean;
  /** Marked with protocol 72. */
  replaceRoute(route: RouteOptions): void;
  /** As `replaceRoute`, with several equal ways instead of `via` and `dev`. */
  replaceMultipath(route: Omit<RouteOptions, 'via' | 'dev'>, hops: readonly RouteHop[]): void;
  /** Removes our route only, of `metric` where one is given; false where there is none. */
  deleteRoute(key: { dst: string; dev?: string; table?: number; metric?: number }): boolean;
  /** Permanent, so never asked for on the wire and outside of the kernel's limit on learned entries. */
  replaceNeighbour(neighbour: { dev: string; address: string; mac: string }): void;
  /**
   * Has the kernel ask for it once, unless it knows, and keep the answer for good: the limit on learned entries does
   * not hold for it. Marked with protocol 72.
   */
  askNeighbour(neighbour: { dev: string; address: string }): void;
  deleteNeighbour(neighbour: { dev: string; address: string }): boolean;
  /** Frames to `mac` leave the VXLAN link `dev` towards the underlay address `dst`. */
  replaceFdb(entry: { dev: string; mac: string; dst: string }): void;
  deleteFdb(entry: { dev: string; mac: string; dst?: string }): boolean;

  close(): void;
}

export interface OpenRouteOptions {
  /** Asks for the index of a link once. For short work on links that nobody else touches meanwhile. */
  readonly remember?: boolean;
}

export function openRoute(ns?: Netns, { remember = false }: OpenRouteOptions = {}): Route {
  const socket = openNetlink(NETLINK_ROUTE, ns);
  const where = ns ? ` in ${ns.path}` : '';
  const make = (type: number, flags: number, what: string, parts: readonly Buffer[]): Request => ({
    type,
    flags,
    what: what + where,
    parts,
  });

  const link = (name: string): Link | undefined =>
    socket.get(
      make(RTM.GETLINK, 0, `read the link ${name}`, [linkHeader(), linkName(name)]),
      parseLink,
      'ENODEV',
    );

  const remembered = new Map<string, number>();

  function indexOf(name: string): number {
    const known = remembered.get(name);
    if (known !== undefined) return known;
    const found = link(name);
    if (found && remember) remembered.set(name, found.index);
    if (!found)
      throw new HeddleError('LinkMissing', `there is no link ${name}${where}`, {
        hint: 'it was removed, or has not been made yet',
      });
    return found.index;
  }

  const setAlias = (name: string, alias: string): Request =>
    make(RTM.NEWLINK, 0, `mark the link ${name}`, [
      linkHeader(),
      linkName(name),
      ...commonAttributes({ alias }),
    ]);

  /** Nothing is left where a later step fails. */
  function create(name: string, parts: readonly Buffer[], alias: string | undefined): void {
    socket.request(make(RTM.NEWLINK, CREATE, `add the link ${name}`, parts));
    if (alias === undefined) return;
    try {
      socket.request(setAlias(name, alias));
    } catch (error) {
      deleteLink(name);
      throw error;
    }
  }

  const deleteLink = (name: string): boolean =>
    socket.attempt(make(RTM.DELLINK, 0, `delete the link ${name}`, [linkHeader(), linkName(name)]), 'ENODEV');

  function setLink(name: string, change: LinkChange): void {
    const { up, master, netns, ipv6Addresses, isolated } = change;
    const parts = [
      linkHeader(indexOf(name), up ? IFF_UP : 0, up === undefined ? 0 : IFF_UP),
      ...commonAttributes(change),
    ];
    if (change.name !== undefined) parts.push(linkName(change.name));
    if (master !== undefined) parts.push(u32(IFLA.MASTER, master === null ? 0 : indexOf(master)));
    if (netns) parts.push(u32(IFLA.NET_NS_FD, netns.fd));
    if (ipv6Addresses) parts.push(ipv6AddressMode(ipv6Addresses));
    if (isolated !== undefined) parts.push(isolatedPort(isolated));
    socket.request(make(RTM.NEWLINK, 0, `change the link ${name}`, parts));
  }

  const dump = <T>(
    type: number,
    what: string,
    parts: Buffer[],
    parse: Parameters<typeof socket.dump<T>>[1],
  ) => socket.dump(make(type, 0, `list ${what}`, parts), parse);

  return {
    ns: ns ?? currentNetns(),
    link,
    links: () => dump(RTM.GETLINK, 'links', [linkHeader()], parseLink),
    namespaceId(other) {
      // struct rtgenmsg, padded.
      const parts = [Buffer.alloc(4), u32(NETNSA.FD, other.fd)];
      const id = socket.get(make(RTM.GETNSID, 0, `name the namespace ${other.path}`, parts), ({ body }) =>
        parseAttributes(body, 4).get(NETNSA.NSID)?.readInt32LE(),
      );
      return id === NOT_ASSIGNED ? undefined : id;
    },
    addresses: () => dump(RTM.GETADDR, 'addresses', [Buffer.alloc(8)], parseLinkAddress),
    routes: () => dump(RTM.GETROUTE, 'routes', [Buffer.alloc(12)], parseRoute),
    routeTo: (address, options) =>
      socket.get(
        make(RTM.GETROUTE, 0, `look for a way to ${address}`, routeToParts(address, options)),
        parseRoute,
        'ENETUNREACH',
        'EHOSTUNREACH',
        'EACCES',
        'EINVAL',
      ),
    neighbours: (link) => dump(RTM.GETNEIGH, 'neighbours', neighbourDump(link), parseNeighbour),
    fdb: () => dump(RTM.GETNEIGH, 'forwarding entries', fdbDump(), parseFdb),

    addVeth: (options) => create(options.name, vethParts(options), options.alias),
    addBridge: (options) => create(options.name, bridgeParts(options), options.alias),
    addVxlan: (options) => create(options.name, vxlanParts(options), options.alias),
    addRouteTunnel: (options) => create(options.name, routeTunnelParts(options), options.alias),
    addMacvlan: (options) => create(options.name, macvlanParts(options, indexOf(options.master)), undefined),
    addIpvlan: (options) => create(options.name, ipvlanParts(options, indexOf(options.master)), undefined),
    setLink,
    deleteLink,
    async removeLink(name) {
      const index = link(name)?.index;
      if (index === undefined) return false;
      const request = make(RTM.DELLINK, 0, `delete the link ${name}`, [linkHeader(index)]);
      return removeLater(request, NETLINK_ROUTE, ns, () => link(name)?.index === index);
    },

    replaceAddress(name, address, options) {
      const parts = addressParts(indexOf(name), address, options);
      socket.request(make(RTM.NEWADDR, REPLACE, `give ${name} the address ${address}`, parts));
    },
    deleteAddress(name, address) {
      const found = link(name);
      if (!found) return false;
      const request = make(
        RTM.DELADDR,
        0,
        `take ${address} from ${name}`,
        addressParts(found.index, address),
      );
      return socket.attempt(request, 'EADDRNOTAVAIL');
    },
    replaceRoute(route) {
      const dev = route.dev === undefined ? undefined : indexOf(route.dev);
      const request = make(RTM.NEWROUTE, REPLACE, `set the ${routeText(route)}`, routeParts(route, dev));
      if (route.ifReachable) socket.attempt(request, 'ENETUNREACH', 'EHOSTUNREACH');
      else socket.request(request);
    },
    replaceMultipath(route, hops) {
      const links = hops.map(({ via, dev }) => ({ via, link: indexOf(dev) }));
      const what = `set the ${routeText(route)} via ${hops.map(({ via }) => via).join(', ')}`;
      socket.request(make(RTM.NEWROUTE, REPLACE, what, multipathParts(route, links)));
    },
    deleteRoute(key) {
      const dev = key.dev === undefined ? undefined : link(key.dev)?.index;
      if (key.dev !== undefined && dev === undefined) return false;
      const request = make(RTM.DELROUTE, 0, `delete the ${routeText(key)}`, routeKeyParts(key, dev));
      return socket.attempt(request, 'ESRCH');
    },
    replaceNeighbour({ dev, address, mac }) {
      const parts = neighbourParts(indexOf(dev), address, mac);
      socket.request(make(RTM.NEWNEIGH, REPLACE, `set the neighbour ${address} on ${dev}`, parts));
    },
    askNeighbour({ dev, address }) {
      const parts = askedNeighbourParts(indexOf(dev), address);
      socket.request(make(RTM.NEWNEIGH, REPLACE, `ask for the neighbour ${address} on ${dev}`, parts));
    },
    deleteNeighbour({ dev, address }) {
      const found = link(dev);
      if (!found) return false;
      const parts = neighbourParts(found.index, address);
      return socket.attempt(
        make(RTM.DELNEIGH, 0, `delete the neighbour ${address} on ${dev}`, parts),
        'ENOENT',
      );
    },
    replaceFdb({ dev, mac, dst }) {
      const parts = fdbParts(indexOf(dev), mac, dst);
      socket.request(make(RTM.NEWNEIGH, REPLACE, `forward ${mac} on ${dev} to ${dst}`, parts));
    },
    deleteFdb({ dev, mac, dst }) {
      const found = link(dev);
      if (!found) return false;
      const parts = fdbParts(found.index, mac, dst);
      return socket.attempt(make(RTM.DELNEIGH, 0, `stop forwarding ${mac} on ${dev}`, parts), 'ENOENT');
    },
    close: () => socket.close(),
  };
}

const routeText = ({ dst, via, dev }: { dst: string; via?: string; dev?: string }): string =>
  `route to ${dst}${via ? ` via ${via}` : ''}${dev ? ` on ${dev}` : ''}`;
