/**
 * Calico's tiers on the scale of tiers.ts: by their order, equal orders by name, those without an order last
 * (API reference, "Tier").
 */
import { compareText } from '../model.ts';
import { TIERS } from '../tiers.ts';
import type { WorldTier } from '../world.ts';

export interface TierPlace {
  readonly number: number;
  /** What policies of it apply to and none of its rules decides is denied. */
  readonly closes: boolean;
}

export const DEFAULT_TIER = 'default';

/** Every cluster has them, wherever their objects are; policies of Calico's own are only in the first. */
const STATIC: Readonly<Record<string, number>> = {
  default: TIERS.default,
  'kube-admin': TIERS.admin,
  adminnetworkpolicy: TIERS.admin,
  'kube-baseline': TIERS.baseline,
  baselineadminnetworkpolicy: TIERS.baseline,
};

/** Behind every order that anybody would give. */
const WITHOUT_ORDER = Number.MAX_VALUE / 2;

export const isOfKubernetes = (tier: string): boolean => tier !== DEFAULT_TIER && Object.hasOwn(STATIC, tier);

/** By name, that of the tier `default` among them. */
export function placeTiers(tiers: readonly WorldTier[]): ReadonlyMap<string, TierPlace> {
  const own = tiers.filter(({ name }) => !Object.hasOwn(STATIC, name));
  const byOrder = Map.groupBy(
    [...own, ...Object.entries(STATIC).map(([name, order]): WorldTier => ({ name, order }))],
    ({ order }) => order ?? WITHOUT_ORDER,
  );
  const places = new Map<string, TierPlace>();
  for (const [order, group] of byOrder) {
    const names = group.sort((a, b) => compareText(a.name, b.name));
    const anchor = Math.max(
      0,
      names.findIndex(({ name }) => Object.hasOwn(STATIC, name)),
    );
    for (const [i, { name, defaultAction }] of names.entries()) {
      const number = Object.hasOwn(STATIC, name) ? order : step(order, i - anchor);
      places.set(name, { number, closes: defaultAction !== 'Pass' && !isOfKubernetes(name) });
    }
  }
  return places;
}

/** The nth number above it, or below: so near that no other order is between. */
function step(from: number, n: number): number {
  let number = from;
  for (let i = 0; i < Math.abs(n); i++) number = n > 0 ? above(number) : -above(-number);
  return number;
}

function above(number: number): number {
  if (number === 0) return Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number);
  view.setBigInt64(0, view.getBigInt64(0) + (number > 0 ? 1n : -1n));
  return view.getFloat64(0);
}
