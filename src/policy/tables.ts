/**
 * What a data path enforces. For a packet, in the direction of its connection:
 *
 *  1. A pod to itself, and a pod with its own node (`nodes`, `nodeLocal`): allowed, nothing is looked up.
 *  2. Egress, if the source address has an endpoint with a table: `entry(egress table, identity of the
 *     destination, protocol, destination port)`.
 *  3. Ingress likewise: `entry(ingress table, identity of the source, protocol, destination port)`.
 *
 * An identity is the longest prefix of `identities` that holds the address, else 0. `entry` is the first hit of
 *
 *  a. (identity, protocol, port in ports)
 *  b. (identity, protocol null)
 *  c. (0, protocol, port in ports)
 *  d. (0, protocol null)
 *
 * else the table's `defaultRule`, whose verdict is deny. An identity without entries of its own in a table is
 * one which that table's rules do not tell apart from 0; one with entries has all of them, those of 0 too where
 * they would be found wrongly: going on from b to c never finds what it should not. Tiers are flattened already: an entry is what decides, and
 * where nothing decides it allows, by rule 0, which is neither counted nor told.
 */
import type { Authentication, Direction, PolicyRef, RuleRef, Verdict } from './decision.ts';

export interface PolicyTables {
  /** Address range in canonical text (`10.244.1.2/32`) → identity, longest prefix wins, 0 is no peer of any rule. */
  readonly identities: ReadonlyMap<string, number>;
  /** Pod address → its tables. Every pod of the compiled set is here, also those not isolated. */
  readonly endpoints: ReadonlyMap<string, PolicyEndpoint>;
  readonly tables: ReadonlyMap<number, PolicyTable>;
  readonly rules: ReadonlyMap<number, RuleInfo>;
  /** Of `rules`: what alone may differ from an earlier map of the same compiler. There are tens of thousands. */
  readonly newRules?: {
    readonly since: ReadonlyMap<number, RuleInfo>;
    readonly numbers: ReadonlySet<number>;
  };
  /** Node → its addresses: always allowed for the endpoints on that node. Enforcing on the forward hook does this. */
  readonly nodes: ReadonlyMap<string, readonly string[]>;
  /** Addresses that each node answers itself: always allowed. */
  readonly nodeLocal: ReadonlySet<string>;
  /** What could not be read. Such a part matches nothing. */
  readonly problems: readonly PolicyProblem[];
  /** What is read, and decided by `decide`, but cannot be said here: it is denied. Absent = nothing. */
  readonly beyond?: readonly PolicyProblem[];
}

export interface PolicyEndpoint {
  /** Table number; 0 = no policy says anything of it. */
  readonly ingress: number;
  readonly egress: number;
  /** `namespace/name` */
  readonly pod: string;
  readonly node: string;
}

export interface PolicyTable {
  readonly number: number;
  readonly direction: Direction;
  /**
   * Rule number of the default deny, of the first tier that closes; 0 in tables of pods that are not isolated, where an
   * entry has everything.
   */
  readonly defaultRule: number;
  /** Policies of all tiers that isolate; absent where the default rule names them all. */
  readonly isolatedBy?: readonly PolicyRef[];
  /** Ordered by identity, protocol, port. For one (identity, protocol) the port ranges are disjoint. */
  readonly entries: readonly PolicyEntry[];
}

export interface PolicyEntry {
  readonly identity: number;
  /** IP protocol number; null = every protocol, ICMP included. */
  readonly protocol: number | null;
  /** Inclusive. Null if and only if protocol is null. Of protocols without ports always 0–65535: all of it. */
  readonly ports: readonly [number, number] | null;
  /** `audit-deny`: it is allowed, and would not be if what is audited were enforced. */
  readonly verdict: Verdict;
  /** The rule or default deny that is enforced; 0 if none is. What it does is always the same (`RuleInfo.verdict`). */
  readonly rule: number;
  /** Of `auth-required`: how, and whether a proxy decides afterwards. */
  readonly auth?: Authentication;
  readonly redirect?: true;
  /** What would decide if what is audited were enforced, where that is another rule. */
  readonly audit?: EntryAudit;
}

export interface EntryAudit {
  readonly verdict: 'allow' | 'deny';
  readonly rule: number;
  /** Number of this rule and the entry's own together. Only in a plan: a data path counts and logs by one number. */
  readonly pair?: number;
}

export interface RuleInfo {
  readonly number: number;
  readonly verdict: Verdict;
  readonly direction: Direction;
  readonly origin: RuleRef | { readonly default: readonly PolicyRef[] };
  /** For people: `NetworkPolicy payments/allow-web spec.ingress[0]`, `default deny ingress: NetworkPolicy payments/…`. */
  readonly text: string;
  /** Of a number that stands for two rules: the enforced one (0: none), and what would decide under audit. */
  readonly pair?: { readonly rule: number; readonly audit: Omit<EntryAudit, 'pair'> };
}

export interface PolicyProblem {
  readonly policy: PolicyRef;
  /** `spec.ingress[0].from[1].ipBlock.cidr` */
  readonly path: string;
  readonly message: string;
  /** It can be read, and means nobody as long as what it names is not known. */
  readonly absent?: true;
}
