/** What a trace says: the shape of `heddle datapath trace -o json` (docs/schemas/datapath-trace.json). */
import type { Protocol } from '../../policy/world.ts';
import type { ProbeResult } from '../backend.ts';

export interface TracePacket {
  readonly protocol: Protocol;
  readonly src: string;
  /** 0: any. */
  readonly sport: number;
  readonly dst: string;
  /** 0 where the protocol has no ports. */
  readonly dport: number;
  /** `namespace/name` of the pod at whose link it is seen first, whoever `src` belongs to. */
  readonly sender?: string | undefined;
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
  /** What would decide if audited policies were enforced, where that is another rule. */
  readonly audit?: StepAudit;
}

export interface StepAudit {
  readonly verdict: 'allow' | 'deny';
  /** 0: no rule would decide. */
  readonly rule: number;
  readonly text: string;
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

/** One program that a packet was run through. */
export interface DryHop extends ProbeResult {
  readonly node: string;
  /** Rules in words, with what is audited; null where none decided. */
  readonly egress: string | null;
  readonly ingress: string | null;
  /** Numbers of the rules that would decide if audited policies were enforced, where they are others. */
  readonly egressAudit?: number | undefined;
  readonly ingressAudit?: number | undefined;
}

/** One way of the packet through the loaded programs, of node after node. */
export interface DryWay {
  readonly hops: readonly DryHop[];
  readonly verdict: TraceVerdict;
  /** False: it goes on where no program was asked, and how is known by the plan alone. */
  readonly complete: boolean;
}

export interface DryDifference {
  readonly node: string;
  readonly what: 'verdict' | 'rule' | 'destination' | 'client' | 'delivery' | 'program';
  readonly plan: string;
  readonly kernel: string;
}

/** What the loaded programs of the nodes on the way make of the packet, beside what the plans say. */
export interface Dry {
  /** Nodes on the way whose data path cannot run a packet. */
  readonly byPlan: readonly { readonly node: string; readonly backend: string }[];
  readonly ways: readonly DryWay[];
  readonly differences: readonly DryDifference[];
}
