/** Tables of roles and words of their rules, made again only when what goes into them has changed. */
import { SharingMap } from '../lib/sharing-map.ts';
import { createTableBuilder, neededBy, type Role, type TableBuilder } from './build-table.ts';
import { policyText, ruleText, type Verdict } from './decision.ts';
import type { RoleDifference } from './endpoints.ts';
import type { Identities, PeerClass } from './identities.ts';
import { comparePolicies, compareText, type Rule } from './model.ts';
import { defaultDenyText, type Numbering } from './numbering.ts';
import { withoutSources } from './source-ports.ts';
import { difference } from './pod-directory.ts';
import { sameItems } from './policy-list.ts';
import { entriesAtMost, fitRole, type Fitted, TABLE_LIMIT } from './table-limit.ts';
import type { PolicyProblem, PolicyTable, PolicyTables, RuleInfo } from './tables.ts';
import { createTermIndex } from './term-index.ts';

interface Built {
  readonly role: Role;
  readonly number: number;
  /** Of `neededBy`. */
  readonly terms: ReadonlySet<string> | undefined;
  fitted: Fitted;
  builder: TableBuilder;
  table: PolicyTable;
}

export interface CompiledRole {
  /** Of its table. */
  readonly number: number;
  /** Without policies that are closed for the size of the table. */
  readonly role: Role;
  /** By identity: those for which it may differ from what is in no class. */
  peers(): readonly PeerClass[];
}

/** @param limit of the entries of a table (table-limit.ts) */
export function createTables(limit = TABLE_LIMIT) {
  const byRole = new Map<Role, Built>();
  const classes = createTermIndex<PeerClass>();
  const builders = createTermIndex<Built>();
  let list: readonly PeerClass[] = [];
  let tables = SharingMap.of<number, PolicyTable>();
  let epoch = '';
  /** With policies that are closed. */
  const closed = new Set<Built>();
  /** Of which other policies are closed than when their rules were last told of. */
  const refitted = new Set<Role>();
  const words = createWords();

  /** Those for which the role may have entries of their own. */
  const concerned = (terms: Built['terms']): readonly PeerClass[] =>
    terms ? [...classes.having(terms)].sort(byIdentity) : list;

  function make(number: number, fitted: Fitted, peers: readonly PeerClass[], numbering: Numbering) {
    const builder = createTableBuilder(number, fitted.role, numbering);
    return { fitted, builder, table: builder.build(peers) };
  }

  function add(role: Role, number: number, numbering: Numbering): readonly [number, PolicyTable] {
    const terms = neededBy(role);
    const peers = concerned(terms);
    const built = { role, number, terms, ...make(number, fitRole(role, peers, limit), peers, numbering) };
    byRole.set(role, built);
    if (built.fitted.problems.length > 0) closed.add(built);
    builders.add(built, terms);
    return [number, built.table];
  }

  /** Whether other policies of a large one are closed now: it is made anew then. */
  function isRefitted(built: Built, numbering: Numbering): boolean {
    if (!closed.has(built) && entriesAtMost(built.role, list.length) <= limit) return false;
    const peers = concerned(built.terms);
    const fitted = fitRole(built.role, peers, limit);
    if (sameProblems(fitted, built.fitted)) {
      built.fitted = { ...built.fitted, problems: fitted.problems };
      return false;
    }
    Object.assign(built, make(built.number, fitted, peers, numbering));
    if (fitted.problems.length > 0) closed.add(built);
    else closed.delete(built);
    refitted.add(built.role);
    return true;
  }

  function remove(role: Role): readonly [number, undefined] | undefined {
    const built = byRole.get(role);
    if (!built) return undefined;
    byRole.delete(role);
    closed.delete(built);
    builders.remove(built, built.terms);
    return [built.number, undefined];
  }

  /** What these tables say of classes that have gone and come. */
  function change(
    gone: readonly PeerClass[],
    come: readonly PeerClass[],
    numbering: Numbering,
  ): [number, PolicyTable][] {
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
      if (!isRefitted(built, numbering)) built.table = built.builder.changed(built.table, by.gone, by.come);
      return [built.number, built.table];
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
      const changed = change(gone, come, numbering);
      const joined = [...(isAnew ? roles.all() : roles.come)].map((role) =>
        add(role, roles.number(role), numbering),
      );
      tables = tables.with([...left, ...changed, ...joined]);
      return tables;
    },
    describe(roles: RoleDifference, numbering: Numbering): Words {
      const differing = words.describe(roles, refitted, (role) => byRole.get(role)!.fitted.role, numbering);
      refitted.clear();
      return differing;
    },
    /** What the tables are made of. */
    roles: (): CompiledRole[] =>
      [...byRole.values()].map(({ number, fitted, terms }) => ({
        number,
        role: fitted.role,
        peers: () => concerned(terms),
      })),
    /** Of the policies that are closed, each once for a direction. */
    problems(): PolicyProblem[] {
      const found = [...closed].flatMap(({ fitted }) => fitted.problems);
      const unique = new Map(
        found
          .sort((a, b) => compareText(a.message, b.message))
          .map((problem) => [`${policyText(problem.policy)} ${problem.path}`, problem]),
      );
      return [...unique.values()].sort(
        (a, b) => comparePolicies(a.policy, b.policy) || compareText(a.path, b.path),
      );
    },
  };
}

/** The counts in them may differ. */
const sameProblems = (a: Fitted, b: Fitted): boolean =>
  sameItems(
    a.problems.map(({ policy }) => policyText(policy)),
    b.problems.map(({ policy }) => policyText(policy)),
  );

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

  function learn(role: Role, now: Role, numbering: Numbering): readonly number[] {
    const list = describeRules(now, numbering);
    for (const [number, info] of list) {
      if (rules.has(number)) shared.set(number, (shared.get(number) ?? 1) + 1);
      else rules.set(number, info);
    }
    const numbers = list.map(([number]) => number);
    held.set(role, numbers);
    return numbers;
  }

  return {
    /**
     * `rules` is the very same map as before where nothing has changed.
     *
     * @param anew roles that stay, and whose rules say something else now
     * @param current what the table of a role is made of
     */
    describe(
      roles: RoleDifference,
      anew: ReadonlySet<Role>,
      current: (role: Role) => Role,
      numbering: Numbering,
    ): Words {
      const since = told;
      const isAnew = epoch !== numbering.epoch();
      epoch = numbering.epoch();
      // First what is gone: a rule that says something else now is in roles of both.
      const numbers = new Set<number>();
      const again = isAnew ? [] : [...anew].filter((role) => held.has(role) && !roles.gone.includes(role));
      for (const role of isAnew ? [...held.keys()] : [...roles.gone, ...again])
        for (const number of forget(role)) numbers.add(number);
      for (const role of isAnew ? roles.all() : [...roles.come, ...again])
        for (const number of learn(role, current(role), numbering)) numbers.add(number);
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
