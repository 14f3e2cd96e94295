/**
 * IPVS hears of packets that are for the node itself, so service addresses must be its own. A local route makes a
 * whole range so, where one address each (kube-ipvs0) costs a change of links for every service; and its source
 * address is the node's, so that what the node sends there does not come from the service address itself.
 */
import { formatCidr, parseCidr } from '../../lib/ip.ts';
import type { RouteEntry, RouteOptions } from '../../kernel/route-codec.ts';
import type { Difference } from '../backend.ts';
import type { Settings } from '../plan/tables.ts';
import { familyOf } from './rules.ts';

/** RT_TABLE_LOCAL */
const LOCAL = 255;
/** Owner mark of routes, docs/leases.md. */
const PROTOCOL = 72;

/** The part of kernel/route.ts that this uses, in the node's namespace. */
export interface LocalRoutes {
  routes(): RouteEntry[];
  /** `10.0.0.1/24` */
  addresses(): readonly { readonly address: string }[];
  replaceRoute(route: RouteOptions): void;
  deleteRoute(key: { dst: string; dev?: string; table?: number }): boolean;
}

/** @param virtual addresses outside of the service ranges */
export function wantedRoutes(
  settings: Settings | undefined,
  virtual: Iterable<string>,
): ReadonlyMap<string, string> {
  const sources = new Map(
    (settings?.nodeAddresses ?? []).toReversed().map((address) => [familyOf(address), address]),
  );
  const hosts = [...virtual].filter((address) => !settings?.nodeAddresses.includes(address));
  const ranges = [...(settings?.serviceCidrs ?? []), ...hosts.map(hostRange)];
  return new Map(
    ranges.flatMap((range) => {
      const source = sources.get(familyOf(range));
      return source === undefined ? [] : [[formatCidr(parseCidr(range)), source] as const];
    }),
  );
}

export const hostRange = (address: string): string => `${address}/${familyOf(address) === 4 ? 32 : 128}`;

/** Local routes of ours: range → source address. */
export function ourRoutes(route: LocalRoutes): Map<string, string> {
  return new Map(
    route
      .routes()
      .filter(({ table, protocol, type }) => table === LOCAL && protocol === PROTOCOL && type === 'local')
      .map(({ dst, src }) => [dst, src ?? '']),
  );
}

export interface RouteStep {
  readonly differences: readonly Difference[];
  /** Makes them what is wanted. */
  add(): void;
  remove(): void;
}

export function compareRoutes(
  route: LocalRoutes,
  actual: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
): RouteStep {
  const fresh = [...wanted].filter(([dst, src]) => actual.get(dst) !== src);
  const stale = [...actual.keys()].filter((dst) => !wanted.has(dst));
  return {
    differences: [
      ...fresh.map(([dst, src]) => ({
        kind: actual.has(dst) ? ('changed' as const) : ('missing' as const),
        what: `local route to ${dst} from ${src}`,
      })),
      ...stale.map((dst) => ({ kind: 'foreign' as const, what: `local route to ${dst}` })),
    ],
    add() {
      for (const [dst, src] of fresh) {
        // The kernel takes another source address for another route of IPv6, and would keep both.
        if (actual.has(dst)) route.deleteRoute({ dst, dev: 'lo', table: LOCAL });
        route.replaceRoute({ dst, src, dev: 'lo', table: LOCAL, type: 'local' });
      }
    },
    remove() {
      for (const dst of stale) route.deleteRoute({ dst, dev: 'lo', table: LOCAL });
    },
  };
}
