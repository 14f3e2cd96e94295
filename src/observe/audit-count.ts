/** What audited policies would have decided otherwise, as an agent serves it on `GET /policy/audit`. */
import type { Direction } from '../policy/decision.ts';
import type { FlowAudit } from './flow-event.ts';

/** Counts of both directions of connections, since the two rules met on the node. */
export interface AuditCount {
  readonly direction: Direction;
  /** What decides now. */
  readonly enforced: FlowAudit;
  readonly audit: FlowAudit;
  readonly packets: number;
  readonly bytes: number;
}
