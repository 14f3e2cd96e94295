/** Which of the policies that select a pod isolate it, as they are enforced and as they would be. */
import type { Direction, PolicyRef } from './decision.ts';
import type { Policy } from './model.ts';

export interface Isolations {
  readonly enforced: Isolation;
  /** With the audited policies; the very same object if none of them isolates. */
  readonly audited: Isolation;
}

export interface Isolation {
  /** Policies that isolate, in their order. */
  readonly policies: readonly PolicyRef[];
  /** The same by tier, the lowest first. */
  readonly tiers: readonly Closing[];
}

/** A tier that denies what it neither decides nor passes on. */
export interface Closing {
  readonly tier: number;
  /** Never empty. */
  readonly policies: readonly PolicyRef[];
}

/** @param policies those that select the pod, in their order. */
export function isolationOf(policies: readonly Policy[], direction: Direction): Isolations {
  const all = policies.filter(({ isolates }) => isolates[direction]);
  const enforced = all.filter(isEnforced);
  const audited = isolationBy(all);
  return { enforced: enforced.length === all.length ? audited : isolationBy(enforced), audited };
}

function isolationBy(policies: readonly Policy[]): Isolation {
  if (policies.length === 0) return OPEN;
  const tiers = [...Map.groupBy(policies, ({ tier }) => tier)].sort(([a], [b]) => a - b);
  return {
    policies: refs(policies),
    tiers: tiers.map(([tier, own]) => ({ tier, policies: refs(own) })),
  };
}

const OPEN: Isolation = { policies: [], tiers: [] };

const refs = (policies: readonly Policy[]): PolicyRef[] => policies.map(({ ref }) => ref);

export const isEnforced = ({ stage }: Policy): boolean => stage === 'enforce';
