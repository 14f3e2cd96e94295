/**
 * What a proxy needs to judge requests on connections that tables hand over to it (`redirect`): plain data, which can be
 * sent as JSON. Nothing in it is known of the world but identities, and numbers of tables and rules, as tables have them.
 */
import type { Authentication, Direction } from '../decision.ts';
import type { TextForm } from '../request.ts';
import type { RuleInfo } from '../tables.ts';

export interface ProxyRules {
  /** Those that hand anything over. */
  readonly tables: readonly ProxyTable[];
  readonly sets: Readonly<Record<string, RequestRules>>;
  /** Lists of what requests may be: one of them must match. */
  readonly requests: Readonly<Record<string, readonly RequestForm[]>>;
  /** By number: every rule and default deny that sets name. */
  readonly rules: Readonly<Record<string, RuleInfo>>;
}

export interface ProxyTable {
  /** As endpoints of the tables have it. */
  readonly table: number;
  readonly direction: Direction;
  /** Ordered by identity, protocol, port. One without any has those of identity 0. */
  readonly entries: readonly ProxyEntry[];
}

export interface ProxyEntry {
  readonly identity: number;
  /** IP protocol number; null = every connection that no other entry of the identity has. */
  readonly protocol: number | null;
  /** Inclusive. Null if and only if protocol is null. */
  readonly ports: readonly [number, number] | null;
  /** Key in `sets`. */
  readonly set: string;
}

export interface RequestRules {
  readonly enforced: readonly Step[];
  /** With what is audited, where that is not the same. */
  readonly audit?: readonly Step[];
}

/** Asked one after the other until one decides. The last always does. */
export type Step = RulesStep | EndStep;

/**
 * Rules that allow and add up, in their order. It decides unless all of its rules hand on, and match nothing. A rule
 * that matches by handing on, or asks nothing, allows, and then the strictest proof that is asked for names the rule. Else
 * the first that matches allows, and if none does, the first denies.
 */
export interface RulesStep {
  readonly rules: readonly ProxyRule[];
}

export interface ProxyRule {
  readonly rule: number;
  /** Key in `requests`; absent: nothing is asked. */
  readonly requests?: string;
  /** A request that does not match is not for this rule. */
  readonly onward?: true;
  readonly auth?: Authentication;
}

export interface EndStep {
  readonly verdict: 'allow' | 'deny';
  /** 0: no rule. */
  readonly rule: number;
}

/** A `RequestMatch` as data. */
export type RequestForm = HttpForm | GrpcForm | DnsForm | KafkaForm;

export interface HttpForm {
  readonly type: 'http';
  readonly method?: TextForm;
  readonly path?: TextForm;
  readonly target?: TextForm;
  readonly host?: TextForm;
  readonly headers?: readonly HeaderForm[];
}

export interface GrpcForm {
  readonly type: 'grpc';
  readonly service?: TextForm;
  readonly method?: TextForm;
  readonly host?: TextForm;
  readonly headers?: readonly HeaderForm[];
}

export interface HeaderForm {
  readonly name: string;
  readonly value: TextForm;
}

export interface DnsForm {
  readonly type: 'dns';
  readonly names: readonly TextForm[];
}

export interface KafkaForm {
  readonly type: 'kafka';
  readonly apiKeys?: readonly string[];
  readonly apiVersion?: number;
  readonly topic?: string;
  readonly clientId?: string;
}
