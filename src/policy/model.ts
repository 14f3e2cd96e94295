/**
 * The one model that every policy language is lowered to. Each part keeps where it came from. Tiers (tiers.ts) and
 * priorities order rules across languages; NetworkPolicy uses one tier and one priority. Peers are in peers.ts.
 */
import type { Family } from '../lib/ip.ts';
import type { Authentication, Direction, PolicyRef, RuleRef } from './decision.ts';
import type { Peer, PodPeer } from './peers.ts';
import type { RequestMatch } from './request.ts';
import type { Stage } from './stage.ts';
import type { PolicyProblem } from './tables.ts';
import type { PortProtocol } from './world.ts';

export interface Policy {
  readonly ref: PolicyRef;
  /** What is audited is counted and told, and decides nothing. */
  readonly stage: Stage;
  readonly subject: PodPeer;
  /** The one that all of its rules are in, and that it closes where it isolates. */
  readonly tier: number;
  /** Directions in which a selected pod is denied what no rule of the tier decides, before the tiers behind it. */
  readonly isolates: Readonly<Record<Direction, boolean>>;
  /** Those of them in which it would without a rule of that direction; absent: none. */
  readonly isolatesWithout?: Readonly<Record<Direction, boolean>>;
  /** Directions of which it says anything: it isolates, or has rules. */
  readonly concerns: Readonly<Record<Direction, boolean>>;
  readonly rules: readonly Rule[];
  readonly problems: readonly PolicyProblem[];
}

export interface Rule {
  readonly ref: RuleRef;
  /** That of its policy. Lower decides first. */
  readonly tier: number;
  /** Lower decides first within a tier. */
  readonly priority: number;
  readonly verdict: RuleVerdict;
  /** It decides nothing, whatever its verdict: that it was asked is told (`Side.logged`). */
  readonly log?: true;
  /** Null = everything, the outside included. Empty = nothing. */
  readonly peers: readonly Peer[] | null;
  /** Null = every protocol and port. Empty = nothing. */
  readonly ports: readonly PortMatch[] | null;
  /** Of the sender, names as its pod says them; absent = every one. No table can say it. */
  readonly sourcePorts?: readonly PortMatch[];
  /** Only of rules that allow: the connection passes, and each request on it must match one of these. */
  readonly l7?: readonly RequestMatch[];
  /** With `l7`: of a request that matches none of these the rules behind are asked. Absent: it is denied. */
  readonly onward?: true;
  /** Only of rules that allow: both ends must prove who they are first. */
  readonly auth?: Authentication;
}

/** `pass`: the rest of the tier is left out, the next one is asked. */
export type RuleVerdict = 'allow' | 'deny' | 'pass';

export type PortMatch = PortRange | NamedPort | IcmpMatch | ProtocolMatch;

export interface PortRange {
  readonly protocol: PortProtocol;
  readonly first: number;
  readonly last: number;
}

/** Resolved on the destination pod. */
export interface NamedPort {
  readonly protocol: PortProtocol;
  readonly name: string;
}

export interface IcmpMatch {
  readonly protocol: 'ICMP';
  /** ICMP or ICMPv6; absent = both. */
  readonly family?: Family;
  /** Absent = every one. */
  readonly type?: number;
  readonly code?: number;
}

/** A protocol that has neither ports nor types: not that of a PortProtocol or of ICMP. Use `matchesOfProtocol`. */
export interface ProtocolMatch {
  readonly protocolNumber: number;
}

/** Everything of an IP protocol. */
export function matchesOfProtocol(protocolNumber: number): PortMatch {
  const known = WITH_PORTS[protocolNumber];
  if (known) return { protocol: known, first: 0, last: 65535 };
  if (protocolNumber === 1) return { protocol: 'ICMP', family: 4 };
  if (protocolNumber === 58) return { protocol: 'ICMP', family: 6 };
  return { protocolNumber };
}

const WITH_PORTS: Readonly<Record<number, PortProtocol>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };

/** Fills in what follows from the rest. */
export function policyOf(parts: Omit<Policy, 'concerns'>): Policy {
  const concerns = (direction: Direction) =>
    parts.isolates[direction] || parts.rules.some(({ ref }) => ref.direction === direction);
  return { ...parts, concerns: { ingress: concerns('ingress'), egress: concerns('egress') } };
}

/** Less than zero if `a` decides before `b`. */
export function compareRules(a: Rule, b: Rule): number {
  return (
    a.tier - b.tier ||
    a.priority - b.priority ||
    compareText(a.ref.namespace, b.ref.namespace) ||
    compareText(a.ref.name, b.ref.name) ||
    // Two kinds may have a tier in common: their rules are not mixed.
    compareText(a.ref.kind, b.ref.kind) ||
    a.ref.index - b.ref.index
  );
}

/** By code unit: the same order on every machine, whatever its locale. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export const comparePolicies = (a: PolicyRef, b: PolicyRef): number =>
  compareText(a.kind, b.kind) ||
  compareText(a.namespace, b.namespace) ||
  compareText(a.name, b.name) ||
  compareText(a.part ?? '', b.part ?? '');
