/**
 * Which of the routes to one prefix is used (RFC 4271 section 9.1.2.2): by elimination, so that the order in which
 * they came does not matter. Pure.
 */
import { firstAs, origins, pathLength } from '../wire/attributes.ts';
import { compareBytes } from '../order.ts';
import type { Route } from './route.ts';

const DEFAULT_LOCAL_PREF = 100;

/** Of an external route where no filter set one. */
export const localPrefOf = (route: Route): number => route.attributes.localPref ?? DEFAULT_LOCAL_PREF;

/** Those with the least of `value`. */
function least(routes: readonly Route[], value: (route: Route) => number): readonly Route[] {
  if (routes.length < 2) return routes;
  let best = Infinity;
  for (const route of routes) best = Math.min(best, value(route));
  return routes.filter((route) => value(route) === best);
}

/** MED is comparable among routes from one AS only. */
function leastMed(routes: readonly Route[]): readonly Route[] {
  const best = new Map<number | undefined, number>();
  for (const { attributes } of routes) {
    const neighbour = firstAs(attributes.asPath);
    best.set(neighbour, Math.min(best.get(neighbour) ?? Infinity, attributes.med ?? 0));
  }
  return routes.filter(({ attributes }) => (attributes.med ?? 0) === best.get(firstAs(attributes.asPath)));
}

const identifierOf = ({ attributes, teller }: Route): string => attributes.originatorId ?? teller.identifier;

/** Those that are equally good but for who told them: the ways of a multipath route. */
function equallyGood(routes: readonly Route[]): readonly Route[] {
  let left = routes;
  left = least(left, (route) => (route.teller.source === 'local' ? 0 : 1));
  left = least(left, (route) => -localPrefOf(route));
  left = least(left, (route) => pathLength(route.attributes.asPath));
  left = least(left, (route) => origins.indexOf(route.attributes.origin));
  left = leastMed(left);
  left = least(left, (route) => (route.teller.source === 'external' ? 0 : 1));
  return least(left, (route) => route.way?.metric ?? 0);
}

function order(a: Route, b: Route): number {
  return (
    compareBytes(identifierOf(a), identifierOf(b)) ||
    (a.attributes.clusterList?.length ?? 0) - (b.attributes.clusterList?.length ?? 0) ||
    compareBytes(a.teller.address, b.teller.address)
  );
}

/**
 * The best first, then at most `most` - 1 others that traffic is shared with. `routes` are usable ones; empty where
 * there are none.
 */
export function decide(routes: readonly Route[], most = 1): readonly Route[] {
  if (routes.length < 2) return routes;
  const sorted = equallyGood(routes).toSorted(order);
  const [best] = sorted;
  if (!best || most === 1 || best.teller.source === 'local') return sorted.slice(0, 1);
  return sorted.filter((route) => sharesWith(route, best)).slice(0, most);
}

/** From the same neighbouring AS, along a path of the same length, by another way. */
const sharesWith = (route: Route, best: Route): boolean =>
  route === best ||
  (firstAs(route.attributes.asPath) === firstAs(best.attributes.asPath) &&
    (route.way?.via !== best.way?.via || route.way?.dev !== best.way?.dev));
