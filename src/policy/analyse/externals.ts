/** What a role passes to or from addresses outside the cluster: ranges, by boundaries and never by address. */
import { type Address, bits, type Family, firstOf, formatAddress, lastOf } from '../../lib/ip.ts';
import { type Block, nestBlocks } from '../blocks.ts';
import type { Role } from '../build-table.ts';
import type { Direction } from '../decision.ts';
import type { PeerClass } from '../identities.ts';
import { leavesOf } from '../peers.ts';
import { blockOf } from '../terms.ts';
import type { PortSet, PortSets } from './port-set.ts';
import type { Sides, Unit } from './sides.ts';

/** Inclusive; values as of `Address`. */
export interface Span {
  readonly first: bigint;
  readonly last: bigint;
}

export interface PortSpan extends Span {
  readonly set: PortSet;
}

/** The whole address space in order, neighbours with different sets; spans without a port are there too. */
export type Externals = (unit: Unit | undefined, direction: Direction) => readonly PortSpan[];

export const lastAddress = (family: Family): bigint => (1n << BigInt(bits(family))) - 1n;

export function createExternals(sides: Sides): Externals {
  const everywhere = [{ first: 0n, last: lastAddress(sides.family), set: sides.sets.all }];
  const known = new Map<Role, readonly PortSpan[]>();
  const ofRole = (role: Role | undefined): readonly PortSpan[] => {
    if (!role) return everywhere;
    const spans = known.get(role) ?? spansOf(sides, role);
    known.set(role, spans);
    return spans;
  };
  const { mesh } = sides;
  const throughMesh = new Map<readonly PortSpan[], Map<string, readonly PortSpan[]>>();
  return (unit, direction) => {
    const spans = ofRole(unit?.roles[direction]);
    if (!mesh || direction === 'egress' || !unit || unit.node !== undefined) return spans;
    const byClass = throughMesh.get(spans) ?? new Map<string, readonly PortSpan[]>();
    throughMesh.set(spans, byClass);
    const both = byClass.get(unit.mesh) ?? zipSpans(spans, mesh.fromOutside(unit), sides.sets.and);
    byClass.set(unit.mesh, both);
    return both;
  };
}

function spansOf(sides: Sides, role: Role): PortSpan[] {
  const { family } = sides;
  const blocks = blocksOf(sides, role);
  const nested = nestBlocks(blocks);
  const starts = new Set([0n]);
  for (const { ranges, except } of blocks.values())
    for (const range of [...ranges, ...except]) {
      if (range.family !== family) continue;
      starts.add(firstOf(range).value);
      starts.add(lastOf(range).value + 1n);
    }
  const end = lastAddress(family);
  const ordered = [...starts].filter((value) => value <= end).sort((a, b) => (a < b ? -1 : 1));
  const setOf = new Map<readonly string[], PortSet>();
  return mergeSpans(
    ordered.map((first, i): PortSpan => {
      const terms = nested.match({ family, value: first });
      const set = setOf.get(terms) ?? sides.portsFor(role, outside(terms));
      setOf.set(terms, set);
      return { first, last: (ordered[i + 1] ?? end + 1n) - 1n, set };
    }),
  );
}

/** Somebody at an address that only blocks tell apart. */
const outside = (terms: readonly string[]): PeerClass => ({
  identity: 0,
  terms: new Set(terms),
  named: new Map(),
});

/** Addresses of nodes are nobody's outside. */
function blocksOf({ scene, family }: Sides, role: Role): Map<string, Block> {
  const blocks = new Map<string, Block>();
  for (const { peers } of role.rules)
    for (const leaf of (peers ?? []).flatMap(leavesOf)) {
      const block = leaf.type === 'nodes' ? undefined : blockOf(scene, leaf);
      const ranges = block?.ranges.filter((range) => range.family === family) ?? [];
      if (block && ranges.length > 0) blocks.set(leaf.text, { ranges, except: block.except });
    }
  return blocks;
}

/** Joins neighbours with one set. Spans are in order and without gaps. */
export function mergeSpans(spans: readonly PortSpan[]): PortSpan[] {
  const merged: { first: bigint; last: bigint; set: PortSet }[] = [];
  for (const span of spans) {
    const before = merged.at(-1);
    if (before && before.set === span.set) before.last = span.last;
    else merged.push({ ...span });
  }
  return merged;
}

/** Both cover the whole space; so does the result, with `combine` of both sets. */
export function zipSpans(
  a: readonly PortSpan[],
  b: readonly PortSpan[],
  combine: (a: PortSet, b: PortSet) => PortSet,
): PortSpan[] {
  const result: PortSpan[] = [];
  for (let i = 0, j = 0, first = 0n; i < a.length && j < b.length; ) {
    const [left, right] = [a[i]!, b[j]!];
    const last = left.last < right.last ? left.last : right.last;
    result.push({ first, last, set: combine(left.set, right.set) });
    if (left.last === last) i++;
    if (right.last === last) j++;
    first = last + 1n;
  }
  return mergeSpans(result);
}

/** What any of several roles passes. */
export const uniteSpans = (lists: readonly (readonly PortSpan[])[], sets: PortSets): readonly PortSpan[] =>
  lists.length === 1 ? lists[0]! : lists.reduce((a, b) => zipSpans(a, b, sets.or));

export const addressText = (family: Family, value: bigint): string => formatAddress({ family, value });

export const addressOf = (family: Family, value: bigint): Address => ({ family, value });
