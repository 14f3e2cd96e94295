/**
 * Flattens rules that overlap, tier by tier, into port ranges that do not, each with what decides there. Near linear
 * in the number of ranges: each rule paints what no earlier one of its tier has painted.
 */
import { protocolNumbers } from '../lib/protocols.ts';
import type { PortRange, RuleVerdict } from './model.ts';
import type { PolicyEntry } from './tables.ts';
import type { PortProtocol } from './world.ts';

/** A rule as far as one peer is concerned. */
export interface PortRule {
  /** 0: it stands for nothing that decides. */
  readonly number: number;
  readonly tier: number;
  readonly verdict: RuleVerdict;
  /** Null = everything. */
  readonly ports: readonly PortRange[] | null;
}

/** Rules in deciding order. The last of each list decides everything: it has no ports, and passes nothing. */
export interface PortRules {
  readonly enforced: readonly PortRule[];
  /** With the audited ones; absent if there are none. */
  readonly audited?: readonly PortRule[];
}

export type PortEntry = Omit<PolicyEntry, 'identity'>;

/** Every protocol and port is decided: the last entry is that for everything that the others leave. */
export function flattenPorts({ enforced, audited }: PortRules): PortEntry[] {
  const lists = [enforced, ...(audited ? [audited] : [])].map(tiersOf);
  const rest = outcome(lists.map((tiers) => decider(tiers, () => undefined)));
  const entries: PortEntry[] = [];
  for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
    const starts = startsOf(lists.flat(), protocol);
    if (starts.length === 0) continue;
    const painted = lists.map((tiers) => {
      const layers = new Map(tiers.map((tier) => [tier, paint(tier.rules, protocol, starts)]));
      return (segment: number) => decider(tiers, (tier) => layers.get(tier)?.[segment]);
    });
    const segments = starts.slice(0, -1).map((first, i) => ({
      first,
      last: starts[i + 1]! - 1,
      ...outcome(painted.map((at) => at(i))),
    }));
    for (const { first, last, ...decided } of joined(segments))
      if (!sameOutcome(decided, rest))
        entries.push({ protocol: protocolNumbers[protocol], ports: [first, last], ...decided });
  }
  entries.push({ protocol: null, ports: null, ...rest });
  return entries;
}

interface Tier {
  /** For some ports each. */
  readonly rules: readonly PortRule[];
  /** What the rules leave; undefined: nothing of this tier decides it. */
  readonly rest: PortRule | undefined;
}

function tiersOf(rules: readonly PortRule[]): Tier[] {
  const tiers: Tier[] = [];
  for (let i = 0; i < rules.length; ) {
    const end = rules.findIndex((rule, at) => at > i && rule.tier !== rules[i]!.tier);
    const list = rules.slice(i, end < 0 ? rules.length : end);
    // A rule for everything leaves nothing to the rules after it.
    const open = list.findIndex((rule) => rule.ports === null);
    tiers.push({ rules: open < 0 ? list : list.slice(0, open), rest: list[open] });
    i += list.length;
    // Nor to the tiers after it, unless it passes.
    if (open >= 0 && list[open]!.verdict !== 'pass' && tiers.at(-1)!.rules.every(isFinal)) break;
  }
  return tiers;
}

const isFinal = ({ verdict }: PortRule): boolean => verdict !== 'pass';

/** The first tier's rule that neither passes nor is absent. */
function decider(tiers: readonly Tier[], ruleAt: (tier: Tier) => PortRule | undefined): PortRule {
  for (const tier of tiers) {
    const rule = ruleAt(tier) ?? tier.rest;
    if (rule && rule.verdict !== 'pass') return rule;
  }
  throw new Error('the last rule of a list decides everything');
}

export type Decided = Pick<PortEntry, 'verdict' | 'rule' | 'audit'>;

function outcome([enforced, audited = enforced]: readonly PortRule[]): Decided {
  const verdict = verdictOf(enforced!);
  if (!audited || audited.number === enforced!.number) return { verdict, rule: enforced!.number };
  const audit = { verdict: verdictOf(audited), rule: audited.number };
  return {
    verdict: verdict === 'allow' && audit.verdict === 'deny' ? 'audit-deny' : verdict,
    rule: enforced!.number,
    audit,
  };
}

const verdictOf = ({ verdict }: PortRule): 'allow' | 'deny' => (verdict === 'deny' ? 'deny' : 'allow');

export const sameOutcome = (a: Decided, b: Decided): boolean =>
  a.rule === b.rule && a.verdict === b.verdict && a.audit?.rule === b.audit?.rule;

/** Where ranges of this protocol begin, and after the last one. */
function startsOf(tiers: readonly Tier[], protocol: PortProtocol): number[] {
  const starts = new Set<number>();
  for (const { rules } of tiers)
    for (const { ports } of rules)
      for (const range of ports ?? []) {
        if (range.protocol !== protocol) continue;
        starts.add(range.first);
        starts.add(range.last + 1);
      }
  return [...starts].sort((a, b) => a - b);
}

/** By segment between starts: the first rule that has it. Painted segments are skipped by pointers. */
function paint(
  rules: readonly PortRule[],
  protocol: PortProtocol,
  starts: readonly number[],
): (PortRule | undefined)[] {
  const position = new Map(starts.map((start, i) => [start, i]));
  const colour = Array<PortRule | undefined>(starts.length).fill(undefined);
  const next = Array.from({ length: starts.length + 1 }, (_, i) => i);
  const free = (i: number): number => {
    let at = i;
    while (next[at] !== at) {
      next[at] = next[next[at]!]!;
      at = next[at]!;
    }
    return at;
  };
  for (const rule of rules)
    for (const range of rule.ports ?? []) {
      if (range.protocol !== protocol) continue;
      const end = position.get(range.last + 1)!;
      for (let i = free(position.get(range.first)!); i < end; i = free(i)) {
        colour[i] = rule;
        next[i] = i + 1;
      }
    }
  return colour;
}

/** Neighbours that are decided alike are one. */
function joined<T extends Decided & { first: number; last: number }>(segments: readonly T[]): T[] {
  const list: T[] = [];
  for (const segment of segments) {
    const before = list.at(-1);
    if (before && before.last === segment.first - 1 && sameOutcome(before, segment))
      before.last = segment.last;
    else list.push(segment);
  }
  return list;
}
