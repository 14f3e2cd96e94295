/** A part of the eBPF data path: it owns some maps and programs, and hears of every change of the plan. */
import type { Difference, NatConnection } from '../backend.ts';
import type { Change, PlanState } from '../plan/tables.ts';

export interface Part {
  /** For logs. */
  readonly name: string;
  /**
   * Writes what the changes mean into the maps. Writing what is there already sends nothing.
   * @throws HeddleError of the kernel's; maps may then hold some of it, and `prune` mends
   */
  apply(changes: readonly Change[]): void;
  /** Makes maps and attachments exactly those of `state`, by differences, and says what it mended. */
  prune(state: PlanState): Difference[];
  /** What `prune` would mend now, without mending it. */
  verify(state: PlanState): Difference[];
  /** As of `Backend`: of the part that translates. */
  handOver?(): NatConnection[];
  takeOver?(connections: readonly NatConnection[], state: PlanState): void;
  letGo?(): void;
  /** Whether at the link runs this very program, not one of an earlier or another build. Of its own programs only. */
  runs?(program: string, link: number): boolean;
  /** Detaches its programs, those of earlier runs too. */
  remove?(): void;
  /** Lets go of handles of its own. What is in the kernel stays. */
  close?(): void;
}
