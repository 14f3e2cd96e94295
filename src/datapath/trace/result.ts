/** What a trace says: the shape of `heddle datapath trace -o json` (docs/schemas/datapath-trace.json). */
import type { Protocol } from '../../policy/world.ts';

export interface TracePacket {
  readonly protocol: Protocol;
  readonly src: string;
  /** 0: any. */
  readonly sport: number;
  readonly dst: string;
  /** 0 where the protocol has no ports. */
  readonly dport: number;
}

export type Stage = 'source' | 'service' | 'policy' | 'route' | 'translate' | 'deliver' | 'reply';

/** `pass`: it goes on. `refuse`: the sender is told (TCP reset, ICMP); `deny` is by policy, `drop` by anything else. */
export type StepVerdict = 'pass' | 'deny' | 'drop' | 'refuse';

export interface TraceStep {
  /** Node where it happens. */
  readonly at: string;
  readonly stage: Stage;
  readonly verdict: StepVerdict;
  readonly text: string;
  /** Where policy is asked. */
  readonly direction?: 'ingress' | 'egress';
  readonly table?: number;
  readonly identity?: number;
  readonly rule?: number;
}

export type TraceVerdict = 'allow' | 'deny' | 'drop' | 'refuse';

/** One of the ways that a packet may take: one for each backend of a service. */
export interface TraceBranch {
  readonly dst: string;
  readonly dport: number;
  /** `shop/cart-1`, or null for an address that is nobody's here. */
  readonly name: string | null;
  readonly node: string | null;
  /** Part of new connections that go this way, 0 to 1. */
  readonly share: number;
  /** The client as the other end sees it. */
  readonly seenAs: string;
  readonly verdict: TraceVerdict;
  readonly steps: readonly TraceStep[];
}

export interface Trace {
  readonly packet: TracePacket;
  /** `mixed`: it depends on the backend. */
  readonly verdict: TraceVerdict | 'mixed';
  /** What happens before the ways part. */
  readonly steps: readonly TraceStep[];
  /** Empty where the packet ends before. */
  readonly branches: readonly TraceBranch[];
}
