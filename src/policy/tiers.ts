/**
 * Where rules of all languages stand to each other: a lower tier decides first, and only what it passes or has no
 * rule for comes to the next. The scale is that of Calico's tiers, whose `order` is their number here.
 * docs/combining-policies.md says why.
 */
export const TIERS = {
  /** AdminNetworkPolicy; ClusterNetworkPolicy of tier Admin. */
  admin: 1_000,
  /** NetworkPolicy, Cilium's, and Calico's tier of that name. What a policy of it isolates is closed behind it. */
  default: 1_000_000,
  /** BaselineAdminNetworkPolicy; ClusterNetworkPolicy of tier Baseline. */
  baseline: 10_000_000,
} as const;

/** Within the default tier; lower decides first. Calico's policies have their `order` there, or the last place. */
export const PRIORITIES = {
  /** A deny rule of Cilium wins over every rule that allows. */
  denyFirst: Number.NEGATIVE_INFINITY,
  /** Rules of languages that know no order: NetworkPolicy, and what Cilium allows. */
  unordered: 1_000,
  /** Calico, without an order. */
  last: Number.POSITIVE_INFINITY,
} as const;

/** Of a BaselineAdminNetworkPolicy, which has none: behind every ClusterNetworkPolicy, whose last one is 1000. */
export const BASELINE_PRIORITY = 1001;
