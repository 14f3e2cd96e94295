/**
 * The one model that every policy language is lowered to. Each part keeps where it came from. Tiers and
 * priorities order rules across languages; NetworkPolicy uses one tier and one priority.
 */
import { type Cidr, formatCidr } from '../lib/ip.ts';
import type { Direction, PolicyRef, RuleRef } from './decision.ts';
import type { Selector } from './selector.ts';
import type { PolicyProblem } from './tables.ts';
import type { PortProtocol } from './world.ts';

export interface Policy {
  readonly ref: PolicyRef;
  readonly subject: PodPeer;
  /** Directions in which a selected pod is denied what no rule allows. */
  readonly isolates: Readonly<Record<Direction, boolean>>;
  readonly rules: readonly Rule[];
  readonly problems: readonly PolicyProblem[];
}

export interface Rule {
  readonly ref: RuleRef;
  /** Lower decides first. */
  readonly tier: number;
  /** Lower decides first within a tier. */
  readonly priority: number;
  readonly verdict: 'allow';
  /** Null = everything, the outside included. Empty = nothing. */
  readonly peers: readonly Peer[] | null;
  /** Null = every protocol and port. Empty = nothing. */
  readonly ports: readonly PortMatch[] | null;
}

export type Peer = PodPeer | BlockPeer;

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

/** Less than zero if `a` decides before `b`. */
export function compareRules(a: Rule, b: Rule): number {
  return (
    a.tier - b.tier ||
    a.priority - b.priority ||
    compareText(a.ref.namespace, b.ref.namespace) ||
    compareText(a.ref.name, b.ref.name) ||
    a.ref.index - b.ref.index ||
    compareText(a.ref.kind, b.ref.kind)
  );
}

/** By code unit: the same order on every machine, whatever its locale. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export const comparePolicies = (a: PolicyRef, b: PolicyRef): number =>
  compareText(a.kind, b.kind) || compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
