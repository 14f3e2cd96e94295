/**
 * What a pod asks for of its node, as Kubernetes' scheduler and kubelets add it up (component-helpers, PodRequests):
 * whole numbers, of `cpu` in thousandths of a processor, of anything else in its own unit. Pure.
 */
import { quantityValue } from './quantity.ts';
import type { Pod } from './types.ts';

type Spec = NonNullable<Pod['spec']>;
type Container = Spec['containers'][number];

/** By the resource's name; what is not asked for is not there. */
export type Amounts = ReadonlyMap<string, number>;

const NOTHING: Amounts = new Map();
/** Decimal fractions are not exact: 0.3 cores are 300 thousandths, not 301. */
const DUST = 1e-6;

/** Undefined for what is no quantity. Fractions are rounded up, as Kubernetes does. */
export function amountOf(name: string, quantity: string | number): number | undefined {
  const value = quantityValue(quantity);
  return value === undefined ? undefined : Math.ceil(value * (name === 'cpu' ? 1000 : 1) - DUST);
}

export function amountsOf(list: Readonly<Record<string, string | number>> | undefined): Amounts {
  if (!list) return NOTHING;
  const amounts = Object.entries(list).map(
    ([name, quantity]) => [name, amountOf(name, quantity) ?? 0] as const,
  );
  return new Map(amounts.filter(([, amount]) => amount > 0));
}

/** Those that run together, or the largest of the init containers with the sidecars before it. */
export function sumOf(
  { initContainers = [], containers }: Pick<Spec, 'initContainers' | 'containers'>,
  of: (one: Container) => number,
): number {
  let sidecars = 0;
  let most = 0;
  for (const one of initContainers) {
    if (one.restartPolicy === 'Always') sidecars += of(one);
    most = Math.max(most, one.restartPolicy === 'Always' ? sidecars : sidecars + of(one));
  }
  return Math.max(most, sidecars + containers.reduce((sum, one) => sum + of(one), 0));
}

const known = new WeakMap<Spec, Amounts>();

/** A pod's spec is never changed in place: it is added up once. */
export function podRequests({ spec }: Pick<Pod, 'spec'>): Amounts {
  if (!spec) return NOTHING;
  const had = known.get(spec);
  if (had) return had;
  const sum = addUp(spec);
  known.set(spec, sum);
  return sum;
}

function addUp(spec: Spec): Amounts {
  const { initContainers = [], containers, resources, overhead } = spec;
  const own = new Map(
    [...initContainers, ...containers].flatMap((one) =>
      one.resources?.requests ? [[one, amountsOf(one.resources.requests)] as const] : [],
    ),
  );
  if (own.size === 0 && !resources && !overhead) return NOTHING;
  const sum = new Map<string, number>();
  const names = new Set([...own.values()].flatMap((amounts) => [...amounts.keys()]));
  for (const name of names)
    sum.set(
      name,
      sumOf(spec, (one) => own.get(one)?.get(name) ?? 0),
    );
  // What is said of the pod as a whole stands in place of what its containers say.
  for (const [name, limit] of amountsOf(resources?.limits)) if (!sum.has(name)) sum.set(name, limit);
  for (const [name, amount] of amountsOf(resources?.requests)) sum.set(name, amount);
  for (const [name, amount] of amountsOf(overhead)) sum.set(name, (sum.get(name) ?? 0) + amount);
  return sum;
}
