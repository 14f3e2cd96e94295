/**
 * The one model that every policy language is lowered to. Each part keeps where it came from. Tiers (tiers.ts) and
 * priorities order rules across languages; NetworkPolicy uses one tier and one priority.
 */
import { type Cidr, formatCidr } from '../lib/ip.ts';
import type { Direction, PolicyRef, RuleRef } from './decision.ts';
import type { Stage } from './stage.ts';
import type { Selector } from './selector.ts';
import type { PolicyProblem } from './tables.ts';
import type { PortProtocol } from './world.ts';

export interface Policy {
  readonly ref: PolicyRef;
  /** What is audited is counted and told, and decides nothing. */
  readonly stage: Stage;
  readonly subject: PodPeer;
  /** Directions in which a selected pod is denied what no rule allows, before the tiers behind NetworkPolicy's. */
  readonly isolates: Readonly<Record<Direction, boolean>>;
  /** Directions of which it says anything: it isolates, or has rules. */
  readonly concerns: Readonly<Record<Direction, boolean>>;
  readonly rules: readonly Rule[];
  readonly problems: readonly PolicyProblem[];
}

export interface Rule {
  readonly ref: RuleRef;
  /** Lower decides first. */
  readonly tier: number;
  /** Lower decides first within a tier. */
  readonly priority: number;
  readonly verdict: RuleVerdict;
  /** Null = everything, the outside included. Empty = nothing. */
  readonly peers: readonly Peer[] | null;
  /** Null = every protocol and port. Empty = nothing. */
  readonly ports: readonly PortMatch[] | null;
}

/** `pass`: the rest of the tier is left out, the next one is asked. */
export type RuleVerdict = 'allow' | 'deny' | 'pass';

export type Peer = PodPeer | BlockPeer | NodePeer;

/** Pods by their labels and those of their namespace. */
export interface PodPeer {
  readonly type: 'pods';
  readonly namespace: { readonly name: string } | { readonly selector: Selector };
  readonly pods: Selector;
  /** Equal texts match the same peers. */
  readonly text: string;
}

/** Addresses by range, whosoever they are: a pod's own address counts. */
export interface BlockPeer {
  readonly type: 'block';
  readonly cidr: Cidr;
  readonly except: readonly Cidr[];
  /** Equal texts match the same peers. */
  readonly text: string;
}

/** Addresses of nodes by the labels of the nodes, and so pods on their network. */
export interface NodePeer {
  readonly type: 'nodes';
  readonly nodes: Selector;
  /** Equal texts match the same peers. */
  readonly text: string;
}

export type PortMatch =
  | { readonly protocol: PortProtocol; readonly first: number; readonly last: number }
  /** Resolved on the destination pod. */
  | { readonly protocol: PortProtocol; readonly name: string };

export function podPeer(namespace: PodPeer['namespace'], pods: Selector): PodPeer {
  const where = 'name' in namespace ? `in ${namespace.name}` : `where ${namespace.selector.text}`;
  return { type: 'pods', namespace, pods, text: `pods ${where} / ${pods.text}` };
}

export function blockPeer(cidr: Cidr, except: readonly Cidr[]): BlockPeer {
  const text = `block ${formatCidr(cidr)} except ${except.map(formatCidr).sort().join(',')}`;
  return { type: 'block', cidr, except, text };
}

export const nodePeer = (nodes: Selector): NodePeer => ({
  type: 'nodes',
  nodes,
  text: `nodes ${nodes.text}`,
});

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
  compareText(a.kind, b.kind) || compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
