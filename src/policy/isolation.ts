/** Which of the policies that select a pod isolate it, as they are enforced and as they would be. */
import type { Direction, PolicyRef } from './decision.ts';
import type { Policy } from './model.ts';

export interface Isolation {
  /** Policies that are enforced and isolate, in their order. */
  readonly enforced: readonly PolicyRef[];
  /** Those and the audited ones; the very same list if none is audited. */
  readonly audited: readonly PolicyRef[];
}

/** @param policies those that select the pod, in their order. */
export function isolationOf(policies: readonly Policy[], direction: Direction): Isolation {
  const all = policies.filter(({ isolates }) => isolates[direction]);
  const enforced = all.filter(isEnforced);
  const refs = (list: readonly Policy[]) => list.map(({ ref }) => ref);
  const audited = refs(all);
  return { enforced: enforced.length === all.length ? audited : refs(enforced), audited };
}

export const isEnforced = ({ stage }: Policy): boolean => stage === 'enforce';
