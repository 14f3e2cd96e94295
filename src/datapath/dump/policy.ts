/** Identities and policy tables, with what the numbers mean. */
import { protocolName } from '../../lib/protocols.ts';
import type { PolicyEntry } from '../../policy/tables.ts';
import { countedAs, NO_RULE } from '../plan/pairs.ts';
import { unfold } from '../plan/unfold.ts';
import { compareAddressTexts, createMembers, type Members } from './members.ts';
import { type DumpFilter, type DumpSource, hex, isAskedFor, type NodeView } from './source.ts';

export interface IdentityRow {
  readonly identity: number;
  readonly hex: string;
  readonly ranges: readonly string[];
  /** Pods whose addresses are in the ranges. */
  readonly pods: readonly string[];
  /** Rules of this node that tell it from others. */
  readonly rules: readonly string[];
}

export function dumpIdentities(view: NodeView, filter: DumpFilter): IdentityRow[] {
  const members = createMembers(view);
  const ranges = new Map<number, string[]>();
  for (const [range, identity] of view.state.identities) {
    const list = ranges.get(identity) ?? [];
    ranges.set(identity, list);
    list.push(range);
  }
  const rules = new Map<number, Set<string>>();
  for (const { entries } of view.state.policies.values())
    for (const { identity, rule } of entries) {
      const set = rules.get(identity) ?? new Set();
      rules.set(identity, set);
      set.add(view.state.rules.get(String(rule))?.text ?? hex(rule));
    }
  return [...ranges]
    .sort(([a], [b]) => a - b)
    .map(([identity, list]) => ({
      identity,
      hex: hex(identity),
      ranges: list.toSorted(compareAddressTexts),
      pods: members(identity).pods,
      rules: [...(rules.get(identity) ?? [])].sort(),
    }))
    .filter(({ pods }) => wanted(pods, filter));
}

const wanted = (pods: readonly string[], filter: DumpFilter): boolean =>
  (filter.pod === undefined && filter.namespace === undefined) ||
  pods.some((pod) => isAskedFor(pod, filter, 'pod'));

export interface PolicyRow {
  readonly pod: string;
  readonly direction: 'ingress' | 'egress';
  /** 0: no policy selects the pod in this direction. */
  readonly table: number;
  /** Null: everybody, where nothing else is said. */
  readonly identity: number | null;
  /** Pods, and ranges of addresses that are no pod's. */
  readonly peers: readonly string[];
  readonly protocol: string | null;
  readonly ports: string | null;
  readonly verdict: string;
  readonly rule: number | null;
  readonly text: string;
  /** What would decide if audited policies were enforced, where that is another rule; then the counts are of these two. */
  readonly audit: { readonly verdict: string; readonly rule: number; readonly text: string } | null;
  readonly packets: number | null;
  readonly bytes: number | null;
}

export function dumpPolicy(source: DumpSource, filter: DumpFilter): PolicyRow[] {
  const { state } = source;
  const members = createMembers(source);
  return [...state.pods]
    .filter(([pod]) => isAskedFor(pod, filter, 'pod'))
    .flatMap(([pod, { addresses }]) =>
      (['ingress', 'egress'] as const).flatMap((direction) => {
        const tables = addresses.flatMap((address) => state.endpoints.get(address)?.[direction] ?? []);
        return [...new Set(tables)].flatMap((number) =>
          tableRows(source, members, { pod, direction, number }),
        );
      }),
    );
}

function tableRows(
  { state, counters: all }: DumpSource,
  members: (identity: number) => Members,
  { pod, direction, number }: { pod: string; direction: 'ingress' | 'egress'; number: number },
): PolicyRow[] {
  const table = state.policies.get(String(number));
  const open = {
    pod,
    direction,
    table: 0,
    identity: null,
    peers: [],
    protocol: null,
    ports: null,
    audit: null,
  };
  if (!table)
    return [
      {
        ...open,
        verdict: 'allow',
        rule: null,
        text: 'no policy selects the pod',
        packets: null,
        bytes: null,
      },
    ];
  const ruleOf = (rule: number) => state.rules.get(String(rule));
  const counters = unfold(all, ruleOf).rules;
  const textOf = (rule: number): string => (rule === 0 ? NONE : (ruleOf(rule)?.text ?? hex(rule)));
  const row = (rule: number, rest: Partial<PolicyRow>): PolicyRow => ({
    ...open,
    table: number,
    verdict: ruleOf(rule)?.verdict ?? 'deny',
    rule: rule === 0 ? null : rule,
    text: textOf(rule),
    packets: counters.get(rule)?.packets ?? null,
    bytes: counters.get(rule)?.bytes ?? null,
    ...rest,
  });
  const auditOf = (entry: PolicyEntry): Partial<PolicyRow> => {
    if (!entry.audit) return {};
    const counted = all.get(countedAs(entry));
    const { verdict, rule } = entry.audit;
    return {
      audit: { verdict, rule, text: textOf(rule) },
      packets: counted?.packets ?? null,
      bytes: counted?.bytes ?? null,
    };
  };
  return [
    ...table.entries.map((entry) =>
      row(entry.rule, {
        identity: entry.identity,
        peers: entry.identity === 0 ? [] : peersOf(members(entry.identity)),
        protocol: entry.protocol === null ? null : protocolName(entry.protocol),
        ports:
          entry.ports && (entry.ports[0] === entry.ports[1] ? `${entry.ports[0]}` : entry.ports.join('-')),
        verdict: entry.verdict,
        ...auditOf(entry),
      }),
    ),
    ...(table.defaultRule === 0 ? [] : [row(table.defaultRule, { verdict: 'deny' })]),
  ];
}

const NONE = `${NO_RULE}, and no policy isolates the pod`;

const peersOf = ({ pods, ranges }: Members): string[] => [...pods, ...ranges];
