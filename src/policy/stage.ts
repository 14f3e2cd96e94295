/** Stages of an object: label `heddle.dev/stage` on it, else on its namespace, else enforced. */
import { STAGE } from '../api/labels.ts';
import type { Labels } from '../api/selector.ts';

export type Stage = 'enforce' | 'audit';

/** What is neither is no stage. */
export function stageIn(labels: Labels | undefined): Stage | undefined {
  const value = labels?.[STAGE];
  return value === 'enforce' || value === 'audit' ? value : undefined;
}
