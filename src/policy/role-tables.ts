/** Tables of roles and words of their rules, made again only when what goes into them has changed. */
import { SharingMap } from '../lib/sharing-map.ts';
import { createTableBuilder, type Role, type TableBuilder } from './build-table.ts';
import { ruleText, type Verdict } from './decision.ts';
import type { RoleDifference } from './endpoints.ts';
import type { Identities, PeerClass } from './identities.ts';
import type { Rule } from './model.ts';
import { defaultDenyText, type Numbering } from './numbering.ts';
import { withoutSources } from './source-ports.ts';
import { difference } from './pod-directory.ts';
import type { PolicyTable, PolicyTables, RuleInfo } from './tables.ts';
import { createTermIndex } from './term-index.ts';

interface Built {
  readonly builder: TableBuilder;
  table: PolicyTable;
}

export function createTables() {
  const byRole = new Map<Role, Built>();
  const classes = createTermIndex<PeerClass>();
  const builders = createTermIndex<Built>();
  let list: readonly PeerClass[] = [];
  let tables = SharingMap.of<number, PolicyTable>();
  let epoch = '';
  const words = createWords();

  function add(role: Role, number: number, numbering: Numbering): readonly [number, PolicyTable] {
    const builder = createTableBuilder(number, role, numbering);
    const concerned = builder.terms ? [...classes.having(builder.terms)].sort(byIdentity) : list;
    const built = { builder, table: builder.build(concerned) };
    byRole.set(role, built);
    builders.add(built, builder.terms);
    return [number, built.table];
  }

  function remove(role: Role): readonly [number, undefined] | undefined {
    const built = byRole.get(role);
    if (!built) return undefined;
    byRole.delete(role);
    builders.remove(built, built.builder.terms);
    return [built.builder.number, undefined];
  }

  /** What these tables say of classes that have gone and come. */
  function change(gone: readonly PeerClass[], come: readonly PeerClass[]): [number, PolicyTable][] {
    const touched = new Map<Built, { gone: PeerClass[]; come: PeerClass[] }>();
    const touch = (peers: readonly PeerClass[], how: 'gone' | 'come') => {
      for (const peer of peers)
        for (const built of builders.having(peer.terms)) {
          const known = touched.get(built) ?? { gone: [], come: [] };
          known[how].push(peer);
          touched.set(built, known);
        }
    };
    touch(gone, 'gone');
    touch(come, 'come');
    return [...touched].map(([built, by]) => {
      built.table = built.builder.changed(built.table, by.gone, by.come);
      return [built.builder.number, built.table];
    });
  }

  return {
    /** Tables are the very same objects as long as they say the same. */
    build(roles: RoleDifference, identities: Identities, numbering: Numbering) {
      const { gone, come } = difference(list, identities.classes);
      list = identities.classes;
      for (const peer of gone) classes.remove(peer, peer.terms);
      for (const peer of come) classes.add(peer, peer.terms);
      // A number that was given may be another one now: all begin anew.
      const now = `${roles.epoch} ${numbering.epoch()}`;
      const isAnew = epoch !== now;
      epoch = now;
      const left = [...(isAnew ? [...byRole.keys()] : roles.gone)].flatMap((role) => {
        const change = remove(role);
        return change ? [change] : [];
      });
      const changed = change(gone, come);
      const joined = [...(isAnew ? roles.all() : roles.come)].map((role) =>
        add(role, roles.number(role), numbering),
      );
      tables = tables.with([...left, ...changed, ...joined]);
      return tables;
    },
    describe: words.describe,
  };
}

const byIdentity = (a: PeerClass, b: PeerClass): number => a.identity - b.identity;

type Words = Pick<PolicyTables, 'rules' | 'newRules'>;

/** Rules of roles that come and go. A rule may be in several. */
function createWords() {
  let epoch: number | undefined;
  const held = new Map<Role, readonly number[]>();
  const rules = new Map<number, RuleInfo>();
  /** Roles by rule, where it has several. */
  const shared = new Map<number, number>();
  let told = SharingMap.of<number, RuleInfo>();

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
    describe(roles: RoleDifference, numbering: Numbering): Words {
      const since = told;
      const isAnew = epoch !== numbering.epoch();
      epoch = numbering.epoch();
      // First what is gone: a rule that says something else now is in roles of both.
      const numbers = new Set<number>();
      for (const role of isAnew ? [...held.keys()] : roles.gone)
        for (const number of forget(role)) numbers.add(number);
      for (const role of isAnew ? roles.all() : roles.come)
        for (const number of learn(role, numbering)) numbers.add(number);
      told = told.with(Iterator.from(numbers).map((number) => [number, rules.get(number)] as const));
      return { rules: told, newRules: { since, numbers } };
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
