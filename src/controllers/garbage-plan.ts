/** What is to become of an object whose owners may have gone. Pure. */
import type { OwnerReference } from './owner.ts';

export type OwnerState = 'present' | 'absent' | 'waits-for-dependants';

export type Fate =
  | { do: 'nothing' }
  | { do: 'delete' }
  /** Some owners are left: the references to the others go. */
  | { do: 'drop'; references: readonly OwnerReference[] };

export function fateOf(
  references: readonly OwnerReference[],
  stateOf: (reference: OwnerReference) => OwnerState,
): Fate {
  if (references.length === 0) return { do: 'nothing' };
  const gone = references.filter((reference) => stateOf(reference) !== 'present');
  if (gone.length === 0) return { do: 'nothing' };
  if (gone.length === references.length) return { do: 'delete' };
  return { do: 'drop', references: gone };
}
