/** The container's end of a link: its addresses and routes. */
import { inNetns, type Netns } from '../../kernel/netns.ts';
import { type Link, openRoute, type Route } from '../../kernel/route.ts';
import { sysctlAccess, writeSysctl } from '../../kernel/sysctl.ts';
import { CniCode, CniError } from '../error.ts';
import type { Lease } from '../leases/types.ts';
import type { CniRoute } from '../types.ts';

export interface Inside {
  readonly netns: Netns;
  readonly ifName: string;
}

export const is6 = (address: string): boolean => address.includes(':');
export const bare = (address: string): string => address.split('/')[0] ?? '';
export const asHost = (address: string): string => `${bare(address)}/${is6(address) ? 128 : 32}`;

export function withRoute<T>(netns: Netns, use: (route: Route) => T): T {
  const route = openRoute(netns);
  try {
    return use(route);
  } finally {
    route.close();
  }
}

/** @throws CniError where an earlier plugin, or somebody else, has made it. */
export function refuseTaken({ netns, ifName }: Inside): void {
  if (withRoute(netns, (route) => route.link(ifName)))
    throw new CniError(CniCode.invalidConfig, `the container has an interface ${ifName} already`);
}

export function linkInside({ netns, ifName }: Inside): Link {
  const link = withRoute(netns, (route) => route.link(ifName));
  if (!link) throw new CniError(CniCode.failed, `the interface ${ifName} is gone from the container`);
  return link;
}

/** Others on the link learn at once where its addresses are now. */
export function bringUp({ netns, ifName }: Inside): void {
  const settings = [`net/ipv4/conf/${ifName}/arp_notify`, `net/ipv6/conf/${ifName}/ndisc_notify`];
  for (const key of settings) if (sysctlAccess(netns, key) === 'writable') writeSysctl(netns, key, 1);
  withRoute(netns, (route) => {
    route.setLink('lo', { up: true });
    route.setLink(ifName, { up: true });
  });
}

/** Containers often come with IPv6 off on new links. */
export function allowIpv6({ netns, ifName }: Inside): void {
  const key = `net/ipv6/conf/${ifName}/disable_ipv6`;
  inNetns(netns, () => {
    if (sysctlAccess(undefined, key) === 'writable') writeSysctl(undefined, key, 0);
  });
}

/** Before the link is up. */
export function giveAddresses(
  inside: Inside,
  addresses: readonly string[],
  options: { noPrefixRoute?: boolean } = {},
): void {
  if (addresses.some(is6)) allowIpv6(inside);
  withRoute(inside.netns, (route) => {
    for (const address of addresses)
      route.replaceAddress(inside.ifName, address, { nodad: true, ...options });
  });
}

/** A route without a gateway of its own has that of its family; one without any is of the link. */
export function giveRoutes({ netns, ifName }: Inside, routes: readonly CniRoute[], lease: Lease): void {
  withRoute(netns, (route) => {
    for (const { dst, gw, priority, table } of routes) {
      const via = gw ?? lease.addresses.find(({ address }) => is6(address) === is6(dst))?.gateway;
      route.replaceRoute({
        dst,
        dev: ifName,
        ...(via === undefined || via === '' ? {} : { via, onlink: true }),
        ...(priority === undefined ? {} : { metric: priority }),
        ...(table === undefined ? {} : { table }),
      });
    }
  });
}

export const DEFAULTS = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/** Default routes for families that have none. */
export function withDefaults(routes: readonly CniRoute[], gateways: readonly string[]): CniRoute[] {
  const more = gateways.flatMap((gw) => {
    const dst = DEFAULTS[is6(gw) ? 6 : 4];
    return routes.some((route) => route.dst === dst) ? [] : [{ dst, gw }];
  });
  return [...routes, ...more];
}
