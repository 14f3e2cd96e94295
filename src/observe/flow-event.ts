/** What a node's kernel logged about a connection, as its agent serves it on `GET /flows`. */
import type { Direction } from '../policy/decision.ts';

export interface FlowEvent {
  /** Rises by one; `GET /flows?since=N` answers what came after N. */
  readonly seq: number;
  readonly node: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly verdict: 'allow' | 'deny';
  readonly direction: Direction;
  /** Number of the rule that decided; 0: none did, and it is told for what is audited. */
  readonly rule: number;
  /** What the rule is, for people; absent when the agent no longer knows the number. */
  readonly text?: string;
  /** What would have decided if audited policies were enforced, where that is another rule. */
  readonly audit?: FlowAudit;
  readonly protocol: string;
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
}

export interface FlowAudit {
  readonly verdict: 'allow' | 'deny';
  /** 0: no rule would decide. */
  readonly rule: number;
  readonly text?: string;
}

export interface FlowPage {
  readonly events: readonly FlowEvent[];
  /** Ask for what comes after this. */
  readonly next: number;
  /** Events that the kernel or the agent had to drop since the agent started. */
  readonly lost: number;
}
