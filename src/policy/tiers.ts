/**
 * Where rules of all languages stand to each other: a lower tier decides first, and only what it passes or has no
 * rule for comes to the next. docs/combining-policies.md says why.
 */
export const TIERS = {
  /** AdminNetworkPolicy; ClusterNetworkPolicy of tier Admin. */
  admin: 50,
  /** NetworkPolicy. It is closing: what it does not allow to or from a pod that it isolates is denied. */
  networkPolicy: 100,
  /** BaselineAdminNetworkPolicy; ClusterNetworkPolicy of tier Baseline. */
  baseline: 150,
} as const;

/** Of a BaselineAdminNetworkPolicy, which has none: behind every ClusterNetworkPolicy, whose last one is 1000. */
export const BASELINE_PRIORITY = 1001;
