/**
 * What programs a plan into a kernel. Every backend passes `contract.ts` over real namespaces. What a backend
 * cannot do is an error that names the feature, never silence.
 */
import type { Direction } from '../policy/decision.ts';
import type {
  BalanceAlgorithm,
  Change,
  FrontendKind,
  PlanState,
  PortProtocol,
  ServiceFrontend,
} from './plan/tables.ts';

export interface Backend {
  readonly name: string;
  readonly capabilities: Capabilities;
  /**
   * Programs differences to what was applied before. All of them take effect at once or, with an error, none.
   * Applying what is there already sends nothing. Only after the first `prune`.
   * @throws HeddleError `Nft`, `Netlink`
   */
  apply(changes: readonly Change[]): Promise<void>;
  /**
   * Makes the kernel hold exactly `state`, by differences: nothing is flushed, nothing that is right is sent
   * again, no packet meets a gap. What a start-up calls first, and what repairs damage. Returns what it mended.
   */
  prune(state: PlanState): Promise<Difference[]>;
  /** What `prune` would mend now, without mending it. */
  verify(): Promise<Difference[]>;
  /** By rule number: packets of both directions that the rule decided since the rule was first programmed. */
  counters(): Promise<ReadonlyMap<number, Counter>>;
  /** Calls `listener` with what the kernel says its rules decided. Returns the way to stop. */
  events(listener: (events: readonly PolicyEvent[]) => void): () => void;
  /**
   * Called with the host's end of a pod's link between its making and its rising: nothing may pass it before the plan
   * knows the pod. Where it is absent, links that the plan does not know are shut anyway.
   */
  guard?(link: { readonly index: number; readonly name: string }): void;
  /** Connections whose addresses this backend rewrites packet by packet: they end when it goes. */
  translated?(): Promise<readonly TranslatedFlow[]>;
  /**
   * Every connection that this backend translates, as far as another one can go on with it, and those of which it alone
   * knows who began them. With `takeOver`; also after `remove`, until `close`.
   */
  handOver?(state: PlanState): Promise<readonly NatConnection[]>;
  /**
   * Of backends that leave translated connections to the kernel's tracking, which is there without them: makes it forget
   * those of an earlier time, that some other backend has carried on since.
   */
  forget?(state: PlanState): Promise<void>;
  /**
   * Goes on translating what another backend began. What it translates already stays as it is.
   * @param state of the node; this may come before the first `prune`
   */
  takeOver?(connections: readonly NatConnection[], state: PlanState): Promise<void>;
  /**
   * While another backend is in force too, which sees what this one leaves: where packets meet this one first.
   * `unknown`: it carries the connections that it knows, and leaves the others; `begun`: it also carries those that
   * begin; `nothing`: it carries everything, as it does at first.
   */
  standBack?(from: 'nothing' | 'begun' | 'unknown'): void;
  /**
   * Forgets every connection, both directions of each at once, so that one which stands back from what it does not know
   * carries nothing from now on. Its removal, piece by piece, then divides none.
   */
  letGo?(): Promise<void>;
  /**
   * Takes everything of this backend out of the kernel, what an earlier run made too. Nothing there is no error.
   * What another backend has programmed meanwhile goes on.
   */
  remove?(): Promise<void>;
  /** Connections that this backend remembers now. There may be many. */
  flows?(): Promise<readonly TrackedFlow[]>;
  /** How full is what can be full. Read at every scrape of the metrics: no walk through entries. */
  pressure?(): readonly Pressure[];
  /** Tables of fixed size: how many entries they may have, and what memory they take. */
  maps?(): readonly MapUse[];
  /** Packets that it dropped, by reason (`spoofed`, `no-backend`), beside those that a policy rule counted. */
  drops?(): ReadonlyMap<string, Counter>;
  /** Pods that wanted more than their share of what all pods of the node share, the heaviest first. */
  podUse?(): readonly PodUse[];
  /** Rules in the kernel's tables, by table (`nat`), where rules are what it programs: iptables. */
  ruleCount?(): ReadonlyMap<string, number>;
  /**
   * Runs a packet through the programs that are loaded and attached. It goes nowhere, and nothing is counted, told or
   * remembered. Answers that differ in who gets it are all there, as far as they were found.
   * @throws HeddleError `BpfProbe`
   */
  probe?(packet: ProbePacket): Promise<readonly ProbeResult[]>;
  /** Lets go of handles. The kernel keeps what it was given. */
  close(): void;
}

/** Ends and ports are those of the connection's first packet as the client sent it. */
export interface TrackedFlow {
  readonly protocol: number;
  readonly src: string;
  /** 0 where the protocol has no ports. */
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
  /** Who answers, where `dst` was translated. */
  readonly backend?: { readonly address: string; readonly port: number } | undefined;
  /** What the other end sees as the client, where `src` was translated. */
  readonly seenAs?: { readonly address: string; readonly port: number } | undefined;
  readonly verdict?: 'allow' | 'deny' | undefined;
  /** Numbers of the rules that decided; absent or 0: none did. */
  readonly egressRule?: number | undefined;
  readonly ingressRule?: number | undefined;
  /** In the backend's own words: `established`, `syn-sent`. */
  readonly state?: string | undefined;
  readonly sent?: Counter | undefined;
  readonly received?: Counter | undefined;
  /** Seconds until it is forgotten unless a packet comes. */
  readonly expires?: number | undefined;
}

export interface Pressure {
  /** Map or table: `flows4`. */
  readonly name: string;
  readonly entries: number;
  /** What fits; undefined where only memory limits it. */
  readonly max: number | undefined;
}

export interface MapUse {
  readonly name: string;
  /** Entries. */
  readonly max: number;
  /** Of the kernel's memory, now. */
  readonly bytes: number;
}

/** Counted since the pod was there. */
export interface PodUse {
  /** `namespace/name` */
  readonly pod: string;
  /** How much of its share of tracked connections it has now, 0 to 1. */
  readonly share: number;
  /** Connections that it began. */
  readonly begun: number;
  /** Of those, begun beyond its share: such push out each other. */
  readonly crowded: number;
  /** Its translated connections that made room for newer ones of its own. */
  readonly gaveWay: number;
  /** Connections that it was not let begin, for want of room. */
  readonly refused: number;
}

/** The first packet of a connection: SYN of TCP, INIT of SCTP, an echo request of ICMP. */
export interface ProbePacket {
  /** IP protocol number: 1, 6, 17, 58 or 132. */
  readonly protocol: number;
  readonly src: string;
  readonly dst: string;
  /** 0: any. */
  readonly sport: number;
  /** 0 where the protocol has no ports. */
  readonly dport: number;
  /**
   * Where it is given to the programs: at the link of the pod `from`, out of the tunnel, as it comes in at the uplink,
   * or on its way to a local pod, sent by the node itself or come in from outside.
   */
  readonly origin: 'pod' | 'overlay' | 'uplink' | 'node' | 'outside';
  /** `namespace/name`, of this node. */
  readonly from?: string | undefined;
  /** Who may get it: without a source port, others are tried until so many have been met. Default 1. */
  readonly ends?: number | undefined;
}

export interface ProbeResult {
  /** Name of the program that was run, and of the link. */
  readonly program: string;
  readonly link: string;
  /** False: at the link runs another program, or none. */
  readonly attached: boolean;
  readonly verdict: 'allow' | 'deny' | 'drop' | 'refuse';
  /** Where it would be next: nowhere, in the node's stack, at a pod of the node, or in the tunnel. */
  readonly next: 'nowhere' | 'stack' | 'pod' | 'tunnel';
  /** The pod's `namespace/name`, or the MAC address of the tunnel's other end. */
  readonly to?: string | undefined;
  /** Of a `drop`, as `drops()` calls it. */
  readonly reason?: string | undefined;
  /** Of a `deny`: at whose side. */
  readonly direction?: Direction | undefined;
  /** As it would go on. */
  readonly src: string;
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
  /** Numbers of the rules that decided; 0: none did. */
  readonly egressRule: number;
  readonly ingressRule: number;
  /** A connection of these ends is there, and decided: begun by this packet's sender, or answered by him. */
  readonly known?: 'begun' | 'answered' | undefined;
}

export interface Capabilities {
  readonly families: readonly (4 | 6)[];
  /** Policy is enforced by the kernel, with a counter and an event per rule. */
  readonly policy: boolean;
  /** A change to deny cuts connections that are established. */
  readonly cutsEstablished: boolean;
  readonly sessionAffinity: boolean;
  /** What it can of the table `protection`. Absent: nothing. */
  readonly protection?: { readonly denied: boolean; readonly limits: boolean };
  /** Absent: cluster addresses by random draws and nothing else. What is not in it, `plan.problems` names. */
  readonly services?: ServiceCapabilities;
}

export interface ServiceCapabilities {
  readonly kinds: readonly FrontendKind[];
  readonly algorithms: readonly BalanceAlgorithm[];
  readonly forwarding: readonly ServiceFrontend['forwarding'][];
  readonly protocols: readonly PortProtocol[];
  readonly weights: boolean;
  readonly sourceRanges: boolean;
  /** `externalBackends`, and `whenEmpty: 'drop'`. */
  readonly trafficPolicies: boolean;
  /** Families in which node ports are served at the loopback addresses of a node, to that node alone. Absent: none. */
  readonly loopbackNodePorts?: readonly (4 | 6)[];
  /** Seconds; a client who asks for less stays so long all the same. Absent: any time is kept. */
  readonly leastAffinitySeconds?: number;
}

export interface TranslatedFlow {
  /** IP protocol number. */
  readonly protocol: number;
  readonly client: string;
  readonly clientPort: number;
  /** What the client talks to, and who answers in its place. */
  readonly address: string;
  readonly port: number;
  readonly backend: string;
  readonly backendPort: number;
  /** `handOver` does not have it: no other data path can go on with it. */
  readonly onlyHere?: boolean;
}

export interface Ends {
  readonly src: string;
  readonly dst: string;
  /** IP protocol number. */
  readonly protocol: number;
  readonly srcPort: number;
  readonly dstPort: number;
}

export interface NatConnection {
  /** As the client writes it, before any translation. */
  readonly original: Ends;
  /** What answers look like, before they are translated back. */
  readonly reply: Ends;
  readonly answered: boolean;
}

export interface Counter {
  readonly packets: number;
  readonly bytes: number;
}

/** `missing` and `changed` are mended by writing, `foreign` by removing. `what` names it as the kernel lists it. */
export interface Difference {
  readonly kind: 'missing' | 'changed' | 'foreign';
  readonly what: string;
}

/** A verdict as the kernel made it. Addresses and ports are those of the connection's first packet. */
export interface PolicyEvent {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly rule: number;
  readonly verdict: 'allow' | 'deny';
  readonly direction: Direction;
  readonly family: 4 | 6;
  readonly src: string;
  readonly dst: string;
  /** IP protocol number. */
  readonly protocol: number;
  /** 0 where the protocol has no ports. */
  readonly sport: number;
  readonly dport: number;
  /** True when the packet that met the rule went from `dst` to `src`: an established connection was cut. */
  readonly reply: boolean;
}
