/** How the kernel reaches a next hop (RFC 4271 section 9.1.2.1), remembered until the next look. */
import { contains, parseAddress, parseCidr, tryParseAddress } from '../lib/ip.ts';
import type { Link, LinkAddress, RouteEntry } from '../kernel/route.ts';
import type { Way } from './rib/route.ts';
import type { NextHop } from './wire/attributes.ts';
import type { AddressFamily } from './wire/codes.ts';
import { isLinkLocal } from './wire/update-decode.ts';

/** The part of kernel/route.ts that this uses. */
export interface NextHopRoute {
  links(): Link[];
  addresses(): LinkAddress[];
  routeTo(address: string, options: { asWritten: boolean }): RouteEntry | undefined;
}

export interface NextHops {
  /**
   * `link`: of the session, for link-local addresses. `connected`: it must be on a link of ours, as that of an
   * external peer one hop away must. `prefix`: the route may not lead to its own next hop.
   */
  resolve(
    hop: NextHop,
    options: { link: string | undefined; connected: boolean; prefix: string },
  ): Way | undefined;
  /** The link that has the address. */
  linkOf(localAddress: string): string | undefined;
  /** An address of the link for the family; for IPv6 with its link-local one. */
  addressOn(link: string, family: AddressFamily): NextHop | undefined;
  /** Looks again; true where anything that was asked for has changed. */
  look(): boolean;
}

interface Network {
  readonly address: string;
  readonly cidr: ReturnType<typeof parseCidr>;
  readonly dev: string;
}

/** `isOurs`: a route that this speaker wrote; next hops do not resolve by those, or they would lead to themselves. */
export function createNextHops(route: NextHopRoute, isOurs: (entry: RouteEntry) => boolean): NextHops {
  let networks = read();
  let cache = new Map<string, Way | undefined>();

  function read(): Network[] {
    const links = new Map(route.links().map((link) => [link.index, link]));
    return route.addresses().flatMap(({ link: index, address, tentative }) => {
      const link = links.get(index);
      if (!link?.up || tentative) return [];
      return [{ address: address.slice(0, address.indexOf('/')), cidr: parseCidr(address), dev: link.name }];
    });
  }

  function find(address: string): Way | undefined {
    const one = parseAddress(address);
    const network = networks
      .filter(({ cidr }) => contains(cidr, one))
      .toSorted((a, b) => b.cidr.length - a.cidr.length)[0];
    // Oneself is no way to anybody.
    if (networks.some((own) => own.address === address)) return undefined;
    if (network && network.dev !== 'lo') return { via: address, dev: network.dev, metric: 0 };
    const entry = route.routeTo(address, { asWritten: true });
    if (!entry || isOurs(entry) || (entry.type ?? 'unicast') !== 'unicast') return undefined;
    const hop = entry.hops?.[0] ?? entry;
    const dev = route.links().find(({ index }) => index === hop.dev)?.name;
    if (dev === undefined || dev === 'lo') return undefined;
    return { via: hop.via ?? address, dev, metric: 1 + entry.metric };
  }

  function resolveOne(address: string, link: string | undefined): Way | undefined {
    if (isLinkLocal(address)) return link === undefined ? undefined : { via: address, dev: link, metric: 0 };
    if (!cache.has(address)) cache.set(address, find(address));
    return cache.get(address);
  }

  return {
    resolve({ address, linkLocal }, { link, connected, prefix }) {
      const way =
        resolveOne(address, link) ?? (linkLocal === undefined ? undefined : resolveOne(linkLocal, link));
      if (!way || way.metric === 0) return way;
      const own = tryParseAddress(address);
      return connected || (own && contains(parseCidr(prefix), own)) ? undefined : way;
    },
    linkOf: (localAddress) => networks.find(({ address }) => address === localAddress)?.dev,
    addressOn(link, family) {
      const on = networks.filter(
        ({ dev, cidr }) => dev === link && (cidr.family === 6) === (family === 'ipv6'),
      );
      const linkLocal = on.find(({ address }) => isLinkLocal(address))?.address;
      const global = on.find(({ address }) => !isLinkLocal(address))?.address ?? linkLocal;
      if (global === undefined) return undefined;
      return linkLocal === undefined || linkLocal === global
        ? { address: global }
        : { address: global, linkLocal };
    },
    look() {
      const before = cache;
      networks = read();
      cache = new Map();
      let isChanged = false;
      for (const [address, way] of before) {
        const now = resolveOne(address, undefined);
        if (now?.via !== way?.via || now?.dev !== way?.dev || now?.metric !== way?.metric) isChanged = true;
      }
      return isChanged;
    },
  };
}
