/**
 * Learned routes in the kernel. Ours carry protocol 72 and the metric that says BGP; all others are left alone, and
 * go before ours.
 */
import type { RouteEntry, RouteHop, RouteOptions } from '../kernel/route.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

const PROTOCOL = 72;

/** The part of kernel/route.ts that this uses. */
export interface FibRoute {
  routes(): RouteEntry[];
  link(name: string): { index: number } | undefined;
  replaceRoute(route: RouteOptions): void;
  replaceMultipath(route: Omit<RouteOptions, 'via' | 'dev'>, hops: readonly RouteHop[]): void;
  deleteRoute(key: { dst: string; table?: number; metric?: number }): boolean;
}

export interface Fib {
  /** Empty `hops` remove the route. */
  set(prefix: string, hops: readonly RouteHop[]): void;
  /** Removes what an earlier process left and nobody has set since; how many that were. */
  sweep(): number;
  /** Mends what the kernel lost (a link went down and came back); how many that were. */
  verify(): number;
  clear(): void;
  /** Routes that the kernel would not take. */
  readonly failures: number;
  readonly size: number;
}

export interface FibOptions {
  table: number;
  metric: number;
  log: Log;
}

const textOf = (hops: readonly RouteHop[]) =>
  hops
    .map(({ via, dev }) => `${via} ${dev}`)
    .toSorted()
    .join(', ');

export function createFib(route: FibRoute, { table, metric, log }: FibOptions): Fib {
  const wanted = new Map<string, readonly RouteHop[]>();
  let failures = 0;

  const ours = () =>
    route
      .routes()
      .filter((entry) => entry.protocol === PROTOCOL && entry.metric === metric && entry.table === table);

  function write(dst: string, hops: readonly RouteHop[]): boolean {
    const [first] = hops;
    try {
      if (hops.length > 1) route.replaceMultipath({ dst, table, metric }, hops);
      else if (first) route.replaceRoute({ dst, via: first.via, dev: first.dev, table, metric });
      else route.deleteRoute({ dst, table, metric });
      return true;
    } catch (error) {
      failures++;
      log.warn('a route of BGP could not be written', { prefix: dst, error: errorText(error) });
      return false;
    }
  }

  /** As `textOf` has it. */
  function actual(): Map<string, string> {
    const names = new Map<number, string>();
    for (const hops of wanted.values())
      for (const { dev } of hops) {
        const index = route.link(dev)?.index;
        if (index !== undefined) names.set(index, dev);
      }
    const text = ({ via, dev, hops }: RouteEntry) =>
      textOf(
        (hops ?? [{ via, dev }]).map((hop) => ({ via: hop.via ?? '', dev: names.get(hop.dev ?? 0) ?? '' })),
      );
    return new Map(ours().map((entry) => [entry.dst, text(entry)]));
  }

  return {
    set(prefix, hops) {
      if (hops.length === 0) wanted.delete(prefix);
      else wanted.set(prefix, hops);
      write(prefix, hops);
    },
    sweep: () => ours().filter(({ dst }) => !wanted.has(dst) && write(dst, [])).length,
    verify() {
      if (wanted.size === 0) return 0;
      const there = actual();
      return [...wanted].filter(([dst, hops]) => there.get(dst) !== textOf(hops) && write(dst, hops)).length;
    },
    clear() {
      wanted.clear();
      for (const { dst } of ours()) write(dst, []);
    },
    get failures() {
      return failures;
    },
    get size() {
      return wanted.size;
    },
  };
}
