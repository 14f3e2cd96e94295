/**
 * Flattens rules that overlap, tier by tier, into port ranges that do not, each with what decides there. Near linear
 * in the number of ranges: each rule paints what no earlier one of its tier has painted.
 */
import { protocolNumbers } from '../lib/protocols.ts';
import type { Authentication } from './decision.ts';
import type { NamedPort, PortMatch, PortRange, RuleVerdict } from './model.ts';
import { paint, type Segments } from './paint.ts';
import { portlessOf, type Portless } from './portless.ts';
import type { PolicyEntry } from './tables.ts';

/** A rule as far as one peer is concerned. */
export interface PortRule {
  /** 0: it stands for nothing that decides. */
  readonly number: number;
  readonly tier: number;
  readonly priority: number;
  readonly verdict: RuleVerdict;
  /** Requests on what it allows are judged one by one. */
  readonly l7?: boolean;
  readonly auth?: Authentication | undefined;
  /** Null = everything. */
  readonly ports: readonly PlainPort[] | null;
}

/** Names are resolved. */
export type PlainPort = Exclude<PortMatch, NamedPort>;

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
  const of = (covers: (rule: PortRule) => boolean): Decided =>
    outcome(lists.map((tiers) => decideAt(tiers, undefined, 0, covers)));
  const rest = of(isOpen);
  const entries: PortEntry[] = [];
  for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
    const starts = startsOf(lists.flat(), protocol);
    if (starts.length === 0) continue;
    const segments: Segments = { protocol, starts, position: new Map(starts.map((start, i) => [start, i])) };
    const layers = lists.map((tiers) => tiers.map((tier) => layersOf(tier, segments)));
    const decided = starts.slice(0, -1).map((first, i) => ({
      first,
      last: starts[i + 1]! - 1,
      ...outcome(lists.map((tiers, which) => decideAt(tiers, layers[which], i))),
    }));
    for (const { first, last, ...each } of joined(decided))
      if (!sameOutcome(each, rest))
        entries.push({ protocol: protocolNumbers[protocol], ports: [first, last], ...each });
  }
  for (const { protocol, kinds } of portlessOf(lists.flat().flatMap((tier) => tier.rules))) {
    const decided = strictest(kinds.map((kind) => of((rule) => coversKind(rule, kind))));
    if (!sameOutcome(decided, rest)) entries.push({ protocol, ports: ALL_PORTS, ...decided });
  }
  entries.push({ protocol: null, ports: null, ...rest });
  return entries;
}

const ALL_PORTS = [0, 65535] as const;

const isOpen = ({ ports }: PortRule): boolean => ports === null;

const coversKind = ({ ports }: PortRule, kind: Portless): boolean =>
  ports === null || ports.some((port) => kind.isOf(port));

const STRICTNESS = ['deny', 'auth-required', 'redirect', 'audit-deny', 'allow'];

/** A table does not tell kinds of one protocol apart: where they are decided differently, it fails closed. */
const strictest = (decided: readonly Decided[]): Decided =>
  decided.reduce((a, b) => (STRICTNESS.indexOf(b.verdict) < STRICTNESS.indexOf(a.verdict) ? b : a));

/** Rules of one tier, in deciding order, without those that can never decide. */
interface Tier {
  readonly rules: readonly PortRule[];
  /** None is for requests or asks for proof: else those that allow add up (judge.ts). */
  readonly isPlain: boolean;
}

function tiersOf(rules: readonly PortRule[]): Tier[] {
  const tiers: Tier[] = [];
  for (let i = 0; i < rules.length; ) {
    const end = rules.findIndex((rule, at) => at > i && rule.tier !== rules[i]!.tier);
    const list = rules.slice(i, end < 0 ? rules.length : end);
    i += list.length;
    const isPlain = list.every(({ l7, auth }) => !l7 && !auth);
    // A rule for everything leaves nothing to the rules after it.
    const open = isPlain ? list.findIndex((rule) => rule.ports === null) : -1;
    tiers.push({ rules: open < 0 ? list : list.slice(0, open + 1), isPlain });
    // Nor to the tiers after it, unless one passes.
    if (open >= 0 && list.slice(0, open + 1).every(({ verdict }) => verdict !== 'pass')) break;
  }
  return tiers;
}

/** First rules of several kinds, as places in a tier's list; -1: none. By segment. */
interface Layers {
  readonly first: Int32Array;
  /** Only where not every rule is plain: the first that is not for requests, that does not allow, that asks for proof. */
  readonly plain?: Int32Array;
  readonly ending?: Int32Array;
  readonly proving?: Int32Array;
  readonly failing?: Int32Array;
}

const kinds = {
  plain: ({ l7 }: PortRule) => !l7,
  ending: ({ verdict }: PortRule) => verdict !== 'allow',
  proving: ({ auth }: PortRule) => auth !== undefined,
  failing: ({ auth }: PortRule) => auth === 'test-always-fail',
};

function layersOf({ rules, isPlain }: Tier, segments: Segments): Layers {
  const first = paint(rules, () => true, segments);
  if (isPlain) return { first };
  return {
    first,
    plain: paint(rules, kinds.plain, segments),
    ending: paint(rules, kinds.ending, segments),
    proving: paint(rules, kinds.proving, segments),
    failing: paint(rules, kinds.failing, segments),
  };
}

/** Of what has no ports: one segment. */
function layersWhere({ rules, isPlain }: Tier, covers: (rule: PortRule) => boolean): Layers {
  const first = (which: (rule: PortRule) => boolean) =>
    Int32Array.of(rules.findIndex((rule) => covers(rule) && which(rule)));
  if (isPlain) return { first: first(() => true) };
  return {
    first: first(() => true),
    plain: first(kinds.plain),
    ending: first(kinds.ending),
    proving: first(kinds.proving),
    failing: first(kinds.failing),
  };
}

interface Verdict {
  readonly rule: PortRule;
  readonly redirect?: true;
  readonly auth?: Authentication | undefined;
}

/** @param layers of each tier; undefined: of what `covers` says, in segment 0 */
function decideAt(
  tiers: readonly Tier[],
  layers: readonly Layers[] | undefined,
  segment: number,
  covers: (rule: PortRule) => boolean = isOpen,
): Verdict {
  for (const [i, tier] of tiers.entries()) {
    const own = layers?.[i] ?? layersWhere(tier, covers);
    const rule = tier.rules[own.first[segment]!];
    if (!rule || rule.verdict === 'pass') continue;
    return rule.verdict === 'deny' || tier.isPlain ? { rule } : settle(tier, own, segment, rule);
  }
  throw new Error('the last rule of a list decides everything');
}

/** Of rules that allow and add up: see `settle` of judge.ts. */
function settle({ rules }: Tier, layers: Layers, segment: number, first: PortRule): Verdict {
  const at = (layer: Int32Array | undefined) => layer?.[segment] ?? -1;
  const end = at(layers.ending) < 0 ? rules.length : at(layers.ending);
  const inRun = (place: number): PortRule | undefined =>
    place >= 0 && place < end && rules[place]!.priority === first.priority ? rules[place] : undefined;
  const plain = inRun(at(layers.plain));
  const proving = inRun(at(layers.failing)) ?? inRun(at(layers.proving));
  return {
    rule: proving ?? plain ?? first,
    ...(plain ? {} : { redirect: true }),
    ...(proving ? { auth: proving.auth } : {}),
  };
}

export type Decided = Pick<PortEntry, 'verdict' | 'rule' | 'redirect' | 'auth' | 'audit'>;

function outcome([enforced, audited = enforced]: readonly Verdict[]): Decided {
  const { rule, redirect, auth } = enforced!;
  const decided = {
    rule: rule.number,
    ...(redirect && auth ? { redirect } : {}),
    ...(auth ? { auth } : {}),
  };
  const verdict = auth ? 'auth-required' : redirect ? 'redirect' : passes(rule) ? 'allow' : 'deny';
  if (!audited || audited.rule.number === rule.number) return { verdict, ...decided };
  const audit = { verdict: passes(audited.rule) ? 'allow' : 'deny', rule: audited.rule.number } as const;
  return {
    verdict: verdict === 'allow' && audit.verdict === 'deny' ? 'audit-deny' : verdict,
    ...decided,
    audit,
  };
}

const passes = ({ verdict }: PortRule): boolean => verdict !== 'deny';

export const sameOutcome = (a: Decided, b: Decided): boolean =>
  a.rule === b.rule &&
  a.verdict === b.verdict &&
  a.redirect === b.redirect &&
  a.auth === b.auth &&
  a.audit?.rule === b.audit?.rule;

/** Where ranges of this protocol begin, and after the last one. */
function startsOf(tiers: readonly Tier[], protocol: PortRange['protocol']): number[] {
  const starts = new Set<number>();
  for (const { rules } of tiers)
    for (const { ports } of rules)
      for (const range of ports ?? []) {
        if (!('first' in range) || range.protocol !== protocol) continue;
        starts.add(range.first);
        starts.add(range.last + 1);
      }
  return [...starts].sort((a, b) => a - b);
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
