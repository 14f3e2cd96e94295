/** Tables of roles and words of their rules, made again only when what goes into them has changed. */
import { createTableBuilder, type Role, type TableBuilder } from './build-table.ts';
import { ruleText, type Verdict } from './decision.ts';
import type { Identities, PeerClass } from './identities.ts';
import type { Rule } from './model.ts';
import { defaultDenyText, type Numbering } from './numbering.ts';
import { withoutSources } from './source-ports.ts';
import { difference } from './pod-directory.ts';
import type { PolicyTable, PolicyTables, RuleInfo } from './tables.ts';

interface Built {
  readonly role: Role;
  readonly builder: TableBuilder;
  readonly table: PolicyTable;
}

export function createTables() {
  let built = new Map<number, Built>();
  let classes: readonly PeerClass[] = [];
  let epoch: number | undefined;
  let last:
    | { readonly roles: ReadonlyMap<number, Role>; readonly tables: Map<number, PolicyTable> }
    | undefined;
  const words = createWords();

  return {
    /** Tables are the very same objects as long as they say the same. */
    build(roles: ReadonlyMap<number, Role>, identities: Identities, numbering: Numbering) {
      const isSame = epoch === numbering.epoch() && classes === identities.classes;
      if (isSame && last?.roles === roles) return last.tables;
      if (epoch !== numbering.epoch()) built = new Map();
      epoch = numbering.epoch();
      const { gone, come } = difference(classes, identities.classes);
      classes = identities.classes;
      const next = new Map<number, Built>();
      const tables = new Map<number, PolicyTable>();
      for (const [number, role] of roles) {
        const known = built.get(number);
        const isKnown = known?.role === role;
        const builder = isKnown ? known.builder : createTableBuilder(number, role, numbering);
        const table = isKnown ? builder.changed(known.table, gone, come) : builder.build(classes);
        next.set(number, isKnown && table === known.table ? known : { role, builder, table });
        tables.set(number, table);
      }
      built = next;
      last = { roles, tables };
      return tables;
    },
    describe: words.describe,
  };
}

type Words = Pick<PolicyTables, 'rules' | 'newRules'>;

/** Rules of roles that come and go. A rule may be in several. */
function createWords() {
  let epoch: number | undefined;
  let held = new Map<Role, readonly number[]>();
  let rules = new Map<number, RuleInfo>();
  /** Roles by rule, where it has several. */
  let shared = new Map<number, number>();
  let told: ReadonlyMap<number, RuleInfo> = rules;

  function forget(role: Role): readonly number[] {
    const numbers = held.get(role) ?? [];
    for (const number of numbers) {
      const others = (shared.get(number) ?? 1) - 1;
      if (others === 0) rules.delete(number);
      else if (others === 1) shared.delete(number);
      else shared.set(number, others);
    }
    held.delete(role);
    return numbers;
  }

  function learn(role: Role, numbering: Numbering): readonly number[] {
    const list = describeRules(role, numbering);
    for (const [number, info] of list) {
      if (rules.has(number)) shared.set(number, (shared.get(number) ?? 1) + 1);
      else rules.set(number, info);
    }
    const numbers = list.map(([number]) => number);
    held.set(role, numbers);
    return numbers;
  }

  return {
    /** `rules` is the very same map as before where nothing has changed. */
    describe(roles: ReadonlySet<Role>, numbering: Numbering): Words {
      const since = told;
      const isAnew = epoch !== numbering.epoch();
      if (isAnew) {
        held = new Map();
        rules = new Map();
        shared = new Map();
        told = rules;
      }
      epoch = numbering.epoch();
      const gone = [...held.keys()].filter((role) => !roles.has(role));
      const come = [...roles].filter((role) => !held.has(role));
      // First what is gone: a rule that says something else now is in roles of both.
      const numbers = new Set<number>();
      for (const role of gone) for (const number of forget(role)) numbers.add(number);
      for (const role of come) for (const number of learn(role, numbering)) numbers.add(number);
      if (gone.length + come.length > 0) told = new Map(rules);
      return isAnew ? { rules: told } : { rules: told, newRules: { since, numbers } };
    },
  };
}

function describeRules(role: Role, numbering: Numbering): [number, RuleInfo][] {
  const { direction, isolation, rules } = role;
  const { enforced, audited } = isolation;
  const closings = enforced === audited ? audited.tiers : [...enforced.tiers, ...audited.tiers];
  return [
    ...closings.map(({ policies }): [number, RuleInfo] => {
      const number = numbering.defaultDeny(direction, policies);
      const text = defaultDenyText(direction, policies);
      return [number, { number, verdict: 'deny', direction, origin: { default: policies }, text }];
    }),
    ...rules.flatMap((rule): [number, RuleInfo][] => {
      const verdict = decidedBy(rule);
      if (!verdict) return [];
      const { ref } = rule;
      const number = numbering.rule(ref);
      return [[number, { number, verdict, direction, origin: ref, text: ruleText(ref) }]];
    }),
  ];
}

/** What the data path does where this rule decides; undefined: it never does. */
function decidedBy(rule: Rule): Verdict | undefined {
  const { verdict, log, auth, l7 } = withoutSources(rule, 'closed');
  if (log || verdict === 'pass') return undefined;
  if (verdict === 'deny') return 'deny';
  if (auth) return 'auth-required';
  return l7 ? 'redirect' : 'allow';
}
