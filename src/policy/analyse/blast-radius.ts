/** Who is within reach of a workload that has fallen: at once, and by way of those that fall next. */
import type { Family } from '../../lib/ip.ts';
import { type ExternalRange, externalSpans, rangeOf, reach } from './connectivity.ts';
import type { Estate, Workload } from './estate.ts';
import { createExternals } from './externals.ts';
import { createPortSets, type PortSet, PROTOCOLS } from './port-set.ts';
import { createSides } from './sides.ts';

export interface Reached {
  readonly workload: Workload;
  /** Connections on the shortest way there; 1 is at once. */
  readonly hops: number;
  /** The last workload on a shortest way; the first one itself at one hop. */
  readonly via: Workload;
  /** What `via` may send to it. */
  readonly set: PortSet;
}

export interface BlastRadius {
  readonly from: Workload;
  /** Nearest first. */
  readonly reached: readonly Reached[];
  /** Out of reach. */
  readonly safe: readonly Workload[];
  /** Addresses outside that the first workload may send to. */
  readonly outside: readonly { readonly range: ExternalRange; readonly set: PortSet }[];
}

export interface BlastOptions {
  readonly family?: Family | undefined;
  /** Only ports that the containers of the destination declare can be used to break in. */
  readonly declared?: boolean;
  /** Stop after so many. */
  readonly hops?: number | undefined;
}

export function blastRadius(estate: Estate, from: Workload, options: BlastOptions = {}): BlastRadius {
  const sets = createPortSets();
  const sides = createSides(estate, { sets, family: options.family });
  const declaredBy = (workload: Workload): PortSet =>
    sets.of(
      PROTOCOLS.map((protocol) =>
        workload.pods
          .flatMap(({ ports }) => ports)
          .filter((port) => port.protocol === protocol)
          .map(({ port }) => [port, port] as const),
      ),
    );
  const usable = (src: Workload, dst: Workload): PortSet => {
    const set = reach(sides, src, dst);
    return options.declared ? sets.and(set, declaredBy(dst)) : set;
  };
  const reached = new Map<Workload, Reached>();
  let front: readonly Workload[] = [from];
  for (let hops = 1; front.length > 0 && hops <= (options.hops ?? Infinity); hops++) {
    const next: Workload[] = [];
    for (const via of front)
      for (const workload of estate.workloads) {
        if (workload === from || reached.has(workload)) continue;
        const set = usable(via, workload);
        if (set === sets.none) continue;
        reached.set(workload, { workload, hops, via, set });
        next.push(workload);
      }
    front = next;
  }
  const outside = externalSpans(sides, createExternals(sides), from, 'egress')
    .filter(({ set }) => set !== sets.none)
    .map((span) => ({ range: rangeOf(span, sides.family), set: span.set }));
  const safe = estate.workloads.filter((workload) => workload !== from && !reached.has(workload));
  return { from, reached: [...reached.values()], safe, outside };
}
