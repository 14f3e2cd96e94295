/** What a node's links say of where peers are and what the node is called by. */
import type { LinkAddress, RouteEntry } from '../kernel/route.ts';
import type { Family } from '../lib/ip.ts';

interface LinksRoute {
  link(name: string): { index: number } | undefined;
  links(): { readonly index: number; readonly name: string }[];
  addresses(): LinkAddress[];
  routes(): RouteEntry[];
}

const RT_TABLE_MAIN = 254;

/** The way out of the namespace; of several the one that the kernel prefers. */
export function defaultGateway(
  route: LinksRoute,
  family: Family,
): { address: string; dev: string } | undefined {
  const dst = family === 4 ? '0.0.0.0/0' : '::/0';
  const [best] = route
    .routes()
    .filter((entry) => entry.dst === dst && entry.table === RT_TABLE_MAIN)
    .toSorted((a, b) => a.metric - b.metric);
  const hop = best?.hops?.[0] ?? best;
  const dev = route.links().find(({ index }) => index === hop?.dev)?.name;
  return hop?.via === undefined || dev === undefined ? undefined : { address: hop.via, dev };
}

/** `10.0.0.1/24`; none where there is no such link. */
export function linkAddresses(route: LinksRoute, name: string): string[] {
  const index = route.link(name)?.index;
  return route.addresses().flatMap(({ link, address }) => (link === index ? [address] : []));
}
