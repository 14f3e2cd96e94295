/**
 * An entry whose audited outcome is by another rule than the enforced one gets a number for the two of them, with the
 * words of both: so a data path that counts and logs one number for each entry tells both. Law: the numbers depend on
 * the policy as it is, not on what was before.
 */
import { createNumberer, pairHash } from '../../policy/numbers.ts';
import type { EntryAudit, PolicyEntry, PolicyTable, PolicyTables, RuleInfo } from '../../policy/tables.ts';
import type { Change } from './tables.ts';

/** The number that counters and logs have for what an entry decides. */
export const countedAs = ({ rule, audit }: Pick<PolicyEntry, 'rule' | 'audit'>): number =>
  audit?.pair ?? rule;

export interface Decided {
  /** Of the enforced rule; 0: none decides. */
  readonly rule: number;
  /** What would decide if what is audited were enforced, where that is another rule. */
  readonly audit?: Omit<EntryAudit, 'pair'> | undefined;
}

/** What a number of counters and logs stands for. */
export function decidedBy(number: number, ruleOf: (number: number) => RuleInfo | undefined): Decided {
  return ruleOf(number)?.pair ?? { rule: number };
}

interface Pair {
  readonly entry: PolicyEntry;
  readonly audit: EntryAudit;
  number: number;
  /** Tables that have it. */
  tables: number;
}

type Rules = PolicyTables['rules'];

export interface Pairs {
  /** Changes of policy, with the pairs that come and go by them. May name entries that are as they were. */
  add(changes: readonly Change[], policy: PolicyTables): Change[];
}

export function createPairs(hash: (text: string) => number = pairHash): Pairs {
  const numberer = createNumberer(hash);
  const held = new Map<string, Pair>();
  /** By table, where it has any. */
  const ofTable = new Map<number, ReadonlySet<string>>();
  /** By number of either rule: what is to be told anew where its words change. */
  const ofRule = new Map<number, Set<string>>();
  const dirty = new Set<string>();
  let epoch = numberer.epoch();

  function index(key: string, { entry, audit }: Pair, isThere: boolean): void {
    for (const rule of [entry.rule, audit.rule]) {
      const keys = ofRule.get(rule) ?? new Set();
      if (isThere) ofRule.set(rule, keys.add(key));
      else if (keys.delete(key) && keys.size === 0) ofRule.delete(rule);
    }
  }

  function note(number: number, table: PolicyTable | undefined): void {
    const next = new Map((table?.entries ?? []).flatMap(pairsOf));
    const before = ofTable.get(number) ?? new Set<string>();
    for (const [key, pair] of next) {
      if (before.has(key)) continue;
      const known = held.get(key) ?? pair;
      known.tables++;
      held.set(key, known);
      dirty.add(key);
      numberer.retain(key);
    }
    for (const key of before) {
      const known = held.get(key);
      if (next.has(key) || !known) continue;
      known.tables--;
      dirty.add(key);
      numberer.release(key);
    }
    if (next.size === 0) ofTable.delete(number);
    else ofTable.set(number, new Set(next.keys()));
  }

  /** Numbers that stand for nothing any more, and all pairs that have another number or other words. */
  function settle(rules: Rules, touched: readonly number[], moved: boolean): Change[] {
    const dropped = new Set<number>();
    const told: Pair[] = [];
    const worded = new Set(touched.flatMap((rule) => [...(ofRule.get(rule) ?? [])]));
    for (const key of moved ? [...held.keys()] : new Set([...dirty, ...worded])) {
      const pair = held.get(key);
      if (!pair) continue;
      const { number, tables } = pair;
      if (tables === 0) held.delete(key);
      else pair.number = numberer.number(key);
      index(key, pair, tables > 0);
      if (number !== 0 && (tables === 0 || number !== pair.number)) dropped.add(number);
      if (tables > 0 && (number !== pair.number || worded.has(key))) told.push(pair);
    }
    dirty.clear();
    const gone = [...dropped].map(
      (number): Change => ({ table: 'rules', key: `${number}`, value: undefined }),
    );
    const come = told.map(
      (pair): Change => ({ table: 'rules', key: `${pair.number}`, value: pairInfo(pair, rules) }),
    );
    return [...gone, ...come];
  }

  function numbered(table: PolicyTable): PolicyTable {
    if (!ofTable.has(table.number)) return table;
    const entries = table.entries.map((entry) => {
      const pair = entry.audit && held.get(keyOf(entry, entry.audit));
      return pair ? { ...entry, audit: { ...pair.audit, pair: pair.number } } : entry;
    });
    return { ...table, entries };
  }

  return {
    add(changes, { tables, rules }) {
      const ofTables = changes.filter((change) => change.table === 'policies');
      for (const { key, value } of ofTables) note(Number(key), value);
      if (held.size === 0) return [...changes];
      const touched = changes.flatMap(({ table, key }) => (table === 'rules' ? [Number(key)] : []));
      const moved = epoch !== numberer.epoch();
      epoch = numberer.epoch();
      const settled = settle(rules, touched, moved);
      const others = moved ? [...ofTable.keys()].flatMap((number) => tables.get(number) ?? []) : [];
      const tell = (key: string, table: PolicyTable | undefined): Change => ({
        table: 'policies',
        key,
        value: table && numbered(table),
      });
      return [
        ...settled,
        ...changes.filter(({ table }) => table !== 'policies'),
        ...others.map((table) => tell(`${table.number}`, table)),
        ...ofTables.map(({ key, value }) => tell(key, value)),
      ];
    },
  };
}

const keyOf = ({ rule }: Pick<PolicyEntry, 'rule'>, audit: EntryAudit): string =>
  `${rule} ${audit.verdict} ${audit.rule}`;

const pairsOf = (entry: PolicyEntry): [string, Pair][] =>
  entry.audit ? [[keyOf(entry, entry.audit), { entry, audit: entry.audit, number: 0, tables: 0 }]] : [];

export const NO_RULE = 'no rule decides';

function pairInfo({ number, entry, audit }: Pair, rules: Rules): RuleInfo {
  const [own, other] = [rules.get(entry.rule), rules.get(audit.rule)];
  return {
    number,
    verdict: entry.verdict,
    direction: own?.direction ?? other?.direction ?? 'ingress',
    origin: own?.origin ?? { default: [] },
    text: `${own?.text ?? NO_RULE}; audited: ${audit.verdict} by ${other?.text ?? NO_RULE}`,
    pair: { rule: entry.rule, audit: { verdict: audit.verdict, rule: audit.rule } },
  };
}
