/** Flattens rules that overlap into port ranges that do not, each with the least rule that matches it. */
import { protocolNumbers } from '../lib/protocols.ts';
import type { PolicyEntry } from './tables.ts';
import type { PortProtocol } from './world.ts';

/** A rule as far as one peer is concerned. */
export interface PortRule {
  readonly number: number;
  /** Null = everything. */
  readonly ports: readonly PortRange[] | null;
}

export interface PortRange {
  readonly protocol: PortProtocol;
  readonly first: number;
  readonly last: number;
}

export type PortEntry = Omit<PolicyEntry, 'identity'>;

/** @param rules the first decides before the second, and so on. */
export function flattenPorts(rules: readonly PortRule[]): PortEntry[] {
  // A rule for everything leaves nothing to the rules after it.
  const open = rules.findIndex((rule) => rule.ports === null);
  const specific = open < 0 ? rules : rules.slice(0, open);
  const entries: PortEntry[] = [];
  for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
    const ranges = specific.flatMap((rule) =>
      (rule.ports ?? [])
        .filter((range) => range.protocol === protocol)
        .map(({ first, last }) => ({ first, last, rule: rule.number })),
    );
    for (const { first, last, rule } of paint(ranges))
      entries.push({ protocol: protocolNumbers[protocol], ports: [first, last], verdict: 'allow', rule });
  }
  if (open >= 0) entries.push({ protocol: null, ports: null, verdict: 'allow', rule: rules[open]!.number });
  return entries;
}

interface Painted {
  first: number;
  last: number;
  rule: number;
}

/** Each range paints what no earlier one has painted. Near linear: painted segments are skipped by pointers. */
function paint(ranges: readonly Painted[]): Painted[] {
  const starts = [...new Set(ranges.flatMap(({ first, last }) => [first, last + 1]))].sort((a, b) => a - b);
  const position = new Map(starts.map((start, i) => [start, i]));
  const colour = Array<number>(starts.length).fill(0);
  const next = Array.from({ length: starts.length + 1 }, (_, i) => i);
  const free = (i: number): number => {
    let at = i;
    while (next[at] !== at) {
      next[at] = next[next[at]!]!;
      at = next[at]!;
    }
    return at;
  };
  for (const { first, last, rule } of ranges) {
    const end = position.get(last + 1)!;
    for (let i = free(position.get(first)!); i < end; i = free(i)) {
      colour[i] = rule;
      next[i] = i + 1;
    }
  }
  return join(starts, colour);
}

function join(starts: readonly number[], colour: readonly number[]): Painted[] {
  const painted: Painted[] = [];
  for (const [i, rule] of colour.entries()) {
    if (rule === 0) continue;
    const first = starts[i]!;
    const last = starts[i + 1]! - 1;
    const before = painted.at(-1);
    if (before && before.rule === rule && before.last === first - 1) before.last = last;
    else painted.push({ first, last, rule });
  }
  return painted;
}
