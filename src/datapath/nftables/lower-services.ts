/**
 * A frontend is one element of `services4`, which names the chain that chooses, and one of `backends4` per slot: key
 * frontend and slot. The chain `balance4-3` draws one of three slots and translates. Where clients outside have
 * other backends than those inside, or others still are turned away, `outside4` has an element too, and slots of its
 * own from `OUTSIDE_SLOTS` on.
 */
import type { BackendAddress, ServiceFrontend } from '../plan/tables.ts';
import { flatten, rangeText } from './flatten.ts';
import { lowerAffinity } from './lower-affinity.ts';
import { mark } from './names.ts';
import { chain, element, type KernelObject } from './objects.ts';
import { backendText, frontendText, HASHED, OUTSIDE_SLOTS, type Side, sideOf } from './side.ts';
import { assignSlots } from './slots.ts';
import { weightOf } from './weights.ts';

/** The slots of a frontend in `set` from number `first` on, at least `count`, as they are now. */
export type SlotsOf = (
  set: string,
  frontend: string,
  first: number,
  count: number,
) => readonly (string | undefined)[];

/** What a side comes to: the verdict that leads to it, and what that needs. */
interface Target {
  readonly verdict: string;
  readonly objects: readonly KernelObject[];
}

export function lowerFrontend(frontend: ServiceFrontend, slotsOf: SlotsOf): KernelObject[] {
  const family = frontend.address.includes(':') ? 6 : 4;
  const key = frontendText(frontend);
  const inside = target(sideOf(frontend, false), slotsOf);
  const objects = [...inside.objects, element(`services${family}`, key, inside.verdict)];
  const { externalBackends, sourceRanges } = frontend;
  const separate = externalBackends && !same(externalBackends, frontend.backends);
  if (!separate && !sourceRanges) return objects;
  const outside = separate ? target(sideOf(frontend, true), slotsOf) : { ...inside, objects: [] };
  const guarded = sourceRanges ? guard(family, outside, sourceRanges, key) : outside;
  return [...objects, ...guarded.objects, element(`outside${family}`, key, guarded.verdict)];
}

const same = (a: readonly BackendAddress[], b: readonly BackendAddress[]): boolean =>
  a.length === b.length &&
  a.every((each, i) => {
    const other = b[i];
    return other && backendText(each) === backendText(other) && weightOf(each) === weightOf(other);
  });

function target(side: Side, slotsOf: SlotsOf): Target {
  const { frontend, family, key, slots, outside } = side;
  if (slots.length === 0)
    return { verdict: frontend.whenEmpty === 'drop' ? 'drop' : 'goto refuse', objects: [] };
  const first = outside ? OUTSIDE_SLOTS : 0;
  if (frontend.affinitySeconds !== undefined) {
    const affinity = lowerAffinity(side, frontend.affinitySeconds);
    const set = `numbers${family}`;
    const numbers = placed(side, set, slots.map(affinity.numberOf), first, slotsOf);
    return { verdict: `goto ${affinity.chain}`, objects: [...affinity.objects, ...numbers] };
  }
  const name = balanceChain(side);
  const rule = `dnat ${side.ip} to ${side.ip} daddr . meta l4proto . th dport . meta mark map @backends${family}`;
  const comment = frontend.algorithm === 'round-robin' ? `${frontend.service} ${key}` : undefined;
  return {
    verdict: `goto ${name}`,
    objects: [
      chain(name, [side.draw, rule], comment),
      ...placed(side, `backends${family}`, slots.map(backendText), first, slotsOf),
    ],
  };
}

/** Drawn slots are kept as they are where they can be; those of a hash mean their number. */
function placed(
  { frontend, key }: Side,
  set: string,
  wanted: readonly string[],
  first: number,
  slotsOf: SlotsOf,
): KernelObject[] {
  const slots = HASHED[frontend.algorithm]
    ? wanted
    : assignSlots(slotsOf(set, key, first, wanted.length), wanted);
  return slots.map((value, slot) => element(set, `${key} . ${mark(first + slot)}`, value));
}

/** Shared by all that draw alike; taking turns is counted for each frontend. */
function balanceChain({ frontend, family, slots, outside, id }: Side): string {
  if (frontend.algorithm === 'round-robin') return `turns-${id}`;
  const way = { 'source-hash': 'source', maglev: 'hash', 'ring-hash': 'hash' }[frontend.algorithm as string];
  return `${way ?? 'balance'}${family}-${slots.length}${outside ? '-outside' : ''}`;
}

/** Clients of other addresses are dropped on their way to `next`. */
function guard(family: 4 | 6, next: Target, cidrs: readonly string[], key: string): Target {
  const ip = family === 4 ? 'ip' : 'ip6';
  const name = `ranges${family}-${next.verdict.replace('goto ', '')}`;
  const ranges = flatten(cidrs.map((cidr) => [cidr, true] as const)).filter(
    (range) => range.family === family,
  );
  return {
    verdict: `goto ${name}`,
    objects: [
      ...next.objects,
      chain(name, [
        `${ip} daddr . meta l4proto . th dport . ${ip} saddr != @sources${family} drop`,
        next.verdict,
      ]),
      ...ranges.map((range) => element(`sources${family}`, `${key} . ${rangeText(range)}`)),
    ],
  };
}
