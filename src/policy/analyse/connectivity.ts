/** Who can reach whom on what: every pair of workloads, and every workload with the outside. */
import type { Family } from '../../lib/ip.ts';
import type { Direction } from '../decision.ts';
import type { Estate, Workload, WorkloadRef } from './estate.ts';
import {
  addressText,
  createExternals,
  type Externals,
  type PortSpan,
  type Span,
  uniteSpans,
} from './externals.ts';
import { type Allowed, allowedOf, createPortSets, type PortSet, type PortSets } from './port-set.ts';
import { createSides, type Sides, type Unit } from './sides.ts';

/** Inclusive range of addresses outside the cluster. */
export interface ExternalRange {
  readonly from: string;
  readonly to: string;
}

export type Party = Workload | ExternalRange;

export interface Connection {
  readonly src: Party;
  readonly dst: Party;
  /** Never empty. What some pod of `src` may send to some pod of `dst`. */
  readonly set: PortSet;
}

export interface ConnectivityOptions {
  /** Only connections of these. */
  readonly focus?: ReadonlySet<Workload> | undefined;
  /** Of addresses; 4 by default. */
  readonly family?: Family | undefined;
  /** To compare sets of several worlds by identity. */
  readonly sets?: PortSets | undefined;
}

export const isWorkload = (party: Party): party is Workload => 'kind' in party;

/** Ordered: pairs of workloads, then from the outside, then to the outside. A workload and itself are left out. */
export function* connectivity(estate: Estate, options: ConnectivityOptions = {}): Generator<Connection> {
  const { focus, family, sets = createPortSets() } = options;
  const sides = createSides(estate, { sets, family });
  const { workloads } = estate;
  const all = workloads.map((workload) => ({ workload, units: sides.units(workload) }));
  const focused = focus ? all.filter(({ workload }) => focus.has(workload)) : all;
  for (const { workload: src, units } of all)
    for (const to of !focus || focus.has(src) ? all : focused) {
      if (src === to.workload) continue;
      const set = reachOf(sides, units, to.units);
      if (set !== sets.none) yield { src, dst: to.workload, set };
    }
  const externals = createExternals(sides);
  for (const direction of ['ingress', 'egress'] as const)
    for (const { workload } of focused)
      for (const span of externalSpans(sides, externals, workload, direction)) {
        if (span.set === sets.none) continue;
        const range = rangeOf(span, sides.family);
        if (direction === 'ingress') yield { src: range, dst: workload, set: span.set };
        else yield { src: workload, dst: range, set: span.set };
      }
}

/** What any pod of one workload may send to any of the other. */
export const reach = (sides: Sides, src: Workload, dst: Workload): PortSet =>
  reachOf(sides, sides.units(src), sides.units(dst));

export function reachOf(sides: Sides, from: readonly Unit[], to: readonly Unit[]): PortSet {
  if (from.length === 1 && to.length === 1) return sides.between(from[0]!, to[0]!);
  let set = sides.sets.none;
  for (const a of from) for (const b of to) set = sides.sets.or(set, sides.between(a, b));
  return set;
}

/** The whole address space in order: what any pod of the workload passes to or from there. */
export function externalSpans(
  sides: Sides,
  externals: Externals,
  workload: Workload,
  direction: Direction,
): readonly PortSpan[] {
  const lists = new Set(sides.units(workload).map((unit) => externals(unit, direction)));
  return uniteSpans([...lists], sides.sets);
}

export const rangeOf = ({ first, last }: Span, family: Family): ExternalRange => ({
  from: addressText(family, first),
  to: addressText(family, last),
});

/** As it is printed and stored. */
export interface ConnectionOutput {
  readonly src: WorkloadRef | ExternalRange;
  readonly dst: WorkloadRef | ExternalRange;
  readonly allowed: Allowed;
}

export const partyOutput = (party: Party): WorkloadRef | ExternalRange =>
  isWorkload(party) ? { namespace: party.namespace, name: party.name, kind: party.kind } : party;

export const connectionOutput = ({ src, dst, set }: Connection): ConnectionOutput => ({
  src: partyOutput(src),
  dst: partyOutput(dst),
  allowed: allowedOf(set),
});

/** `shop/cart (Deployment)`, `10.0.0.0-10.0.0.255`, `any address` */
export function partyText(party: Party | WorkloadRef): string {
  if ('kind' in party) return `${party.namespace}/${party.name} (${party.kind})`;
  const { from, to } = party;
  if (from === to) return from;
  const isWhole =
    (from === '0.0.0.0' && to === '255.255.255.255') || (from === '::' && /^(f{4}:){7}f{4}$/.test(to));
  return isWhole ? 'any address' : `${from}-${to}`;
}
