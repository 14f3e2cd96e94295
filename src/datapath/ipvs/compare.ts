/**
 * One virtual service as the kernel has it against what is wanted. A destination that leaves keeps its connections:
 * its weight becomes 0, and it goes when the last of them has ended. One of datagrams goes at once.
 */
import { type IpvsEdit, ipvsText } from '../../kernel/ipvs.ts';
import type { IpvsDestination, IpvsKey, IpvsListed, IpvsService } from '../../kernel/ipvs-codec.ts';
import type { Difference } from '../backend.ts';
import type { Virtual } from './virtual.ts';

export interface Actual {
  readonly service: IpvsService;
  readonly destinations: readonly IpvsListed[];
}

export interface Step {
  /** Before rules let anybody in. */
  readonly adds: readonly IpvsEdit[];
  /** After rules keep everybody out. */
  readonly removes: readonly IpvsEdit[];
  readonly differences: readonly Difference[];
  /** Somebody is still to leave when his connections have ended. */
  readonly draining: boolean;
}

const UDP = 17;
const NOTHING: Step = { adds: [], removes: [], differences: [], draining: false };

const nameOf = ({ address, port }: IpvsDestination): string => `${address} ${port}`;
const isBusy = ({ active, inactive }: IpvsListed): boolean => active + inactive > 0;
const textOf = (key: IpvsKey, { address, port, weight }: IpvsDestination): string =>
  `${ipvsText(key)} -> ${address.includes(':') ? `[${address}]` : address}:${port} weight ${weight}`;

export function compare(actual: Actual | undefined, wanted: Virtual | undefined): Step {
  if (actual && wanted) return both(actual, wanted);
  if (wanted) return missing(wanted);
  return actual ? unwanted(actual) : NOTHING;
}

function missing({ service, destinations }: Virtual): Step {
  const of = service.key;
  return {
    ...NOTHING,
    adds: [
      { do: 'add', service },
      ...destinations.map((destination) => ({ do: 'add' as const, of, destination })),
    ],
    differences: [{ kind: 'missing', what: ipvsText(of) }],
  };
}

function unwanted({ service, destinations }: Actual): Step {
  const { key } = service;
  const leaving = destinations.map((each) => leave(key, each, isDatagrams(key)));
  const draining = leaving.some((step) => step.draining);
  const isForeign = destinations.length === 0 || destinations.some(({ weight }) => weight > 0);
  return {
    adds: [],
    removes: draining ? leaving.flatMap(({ removes }) => removes) : [{ do: 'delete', service }],
    differences: isForeign ? [{ kind: 'foreign', what: ipvsText(key) }] : [],
    draining,
  };
}

function both(actual: Actual, { service, destinations, datagrams }: Virtual): Step {
  const of = service.key;
  const adds: IpvsEdit[] = [];
  const differences: Difference[] = [];
  if (!sameService(actual.service, service)) {
    adds.push({ do: 'set', service });
    differences.push({ kind: 'changed', what: ipvsText(of) });
  }
  const there = new Map(actual.destinations.map((each) => [nameOf(each), each]));
  for (const destination of destinations) {
    const had = there.get(nameOf(destination));
    there.delete(nameOf(destination));
    if (had?.weight === destination.weight) continue;
    adds.push({ do: had ? 'set' : 'add', of, destination });
    differences.push({ kind: had ? 'changed' : 'missing', what: textOf(of, destination) });
  }
  const leaving = [...there.values()].map((each) => leave(of, each, datagrams));
  return {
    adds,
    removes: leaving.flatMap(({ removes }) => removes),
    differences: [...differences, ...leaving.flatMap((step) => step.differences)],
    draining: leaving.some((step) => step.draining),
  };
}

function leave(of: IpvsKey, each: IpvsListed, datagrams: boolean): Step {
  const { address, port, weight } = each;
  const draining = isBusy(each) && !datagrams;
  const remove: IpvsEdit[] = draining
    ? weight > 0
      ? [{ do: 'set', of, destination: { address, port, weight: 0 } }]
      : []
    : [{ do: 'delete', of, destination: each }];
  const differences: Difference[] = weight > 0 ? [{ kind: 'foreign', what: textOf(of, each) }] : [];
  return { adds: [], removes: remove, differences, draining };
}

const isDatagrams = (key: IpvsKey): boolean => 'protocol' in key && key.protocol === UDP;

const sameService = (a: IpvsService, b: IpvsService): boolean =>
  a.scheduler === b.scheduler && a.flags === b.flags && a.persistence === b.persistence;
