/**
 * What a proxy is given for a pod: its rules by index, in the forms that connections and requests need. It says what
 * `decideMesh` says.
 */
import type { ResolvedFlow } from '../scene.ts';
import { decideMatching, type Finder, type Found, type Matches } from './decide.ts';
import type { Facts } from './facts.ts';
import { matchesRule } from './match.ts';
import { type Authorizations, type Mesh, policiesOf, rulesOf } from './mesh.ts';
import { type Condition, conditionsOf, isOfHttp, type MeshAction, type MeshRule } from './model.ts';
import { indexRules, type RuleIndex } from './rule-index.ts';
import type { MeshSide } from './side.ts';

/** Of one world's mesh; rules of pods for which the same policies are, are one index. */
export function createMeshDecider(mesh: Mesh): (flow: ResolvedFlow, isNodeLocal: boolean) => MeshSide {
  const byObject = new Map<Authorizations, ProxyRules>();
  const byText = new Map<string, ProxyRules>();
  const rulesFor = (who: Authorizations): ProxyRules => {
    const known = byObject.get(who);
    if (known) return known;
    const text = ACTIONS.flatMap((action) => policiesOf(who, action))
      .map(({ ref }) => `${ref.namespace}/${ref.name}`)
      .join(' ');
    const rules = byText.get(text) ?? compileRules(who);
    byText.set(text, rules);
    byObject.set(who, rules);
    return rules;
  };
  const find: Finder = (who, facts) => rulesFor(who).find(facts);
  return (flow, isNodeLocal) => decideMatching(mesh, flow, isNodeLocal, find);
}

export interface ProxyRules {
  find(facts: Facts): Matches;
}

const ACTIONS: readonly MeshAction[] = ['CUSTOM', 'DENY', 'ALLOW', 'AUDIT'];

/** The forms are made when they are first needed. */
export function compileRules(who: Authorizations): ProxyRules {
  const all = ACTIONS.flatMap((action) => rulesOf(policiesOf(who, action)));
  const form = (change: (rule: MeshRule, action: MeshAction) => MeshRule | undefined): (() => Form) => {
    let made: Form | undefined;
    return () => (made ??= formOf(all, change));
  };
  const http = form((rule) => rule);
  const bytes = form((rule, action) => forBytes(rule, action));
  const possible = form((rule) => without(rule, isLater));
  const sure = form(sureOf);
  return {
    find(facts) {
      if (facts.request === 'bytes') return settled(bytes().match(facts));
      if (facts.request !== 'unknown') return settled(http().match(facts));
      if (facts.sni !== null || facts.remote !== null) return scanned(all, facts);
      const yes = sure().match(facts);
      let maybe: readonly Found[] | undefined;
      const later = (): readonly Found[] => {
        const isSure = new Set(yes.map(({ rule }) => rule));
        return possible()
          .match(facts)
          .filter(({ rule }) => !isSure.has(rule));
      };
      return (action, answer) => of(action, answer === 'yes' ? yes : (maybe ??= later()));
    },
  };
}

const of = (action: MeshAction, found: readonly Found[]): readonly Found[] =>
  found.length === 0 ? NONE : found.filter(({ policy }) => policy.action === action);

const NONE: readonly Found[] = [];

const settled =
  (found: readonly Found[]): Matches =>
  (action, answer) =>
    answer === 'yes' ? of(action, found) : NONE;

const scanned =
  (all: readonly Found[], facts: Facts): Matches =>
  (action, answer) =>
    all.filter(({ policy, rule }) => policy.action === action && matchesRule(rule, action, facts) === answer);

interface Form {
  match(facts: Facts): readonly Found[];
}

function formOf(
  all: readonly Found[],
  change: (rule: MeshRule, action: MeshAction) => MeshRule | undefined,
): Form {
  const kept = all.flatMap(({ policy, rule }) => {
    const changed = change(rule, policy.action);
    return changed ? [{ own: { policy, rule }, changed }] : [];
  });
  const index: RuleIndex = indexRules(kept.map(({ changed }) => changed));
  return { match: (facts) => index.match(facts).map((place) => kept[place]!.own) };
}

/** What only HTTP has is left out; a rule that allows and asks for it is out. */
export function forBytes(rule: MeshRule, action: MeshAction): MeshRule | undefined {
  if (action === 'ALLOW' && conditionsOf(rule).some(isOfHttp)) return undefined;
  return without(rule, isOfHttp);
}

/** Not known before the request. */
const isLater = (condition: Condition): boolean =>
  isOfHttp(condition) || condition.attribute === 'sni' || condition.attribute === 'remote-ip';

/** As if conditions that are not known yet held. */
function without(rule: MeshRule, isOut: (condition: Condition) => boolean): MeshRule {
  const kept = (list: readonly Condition[]) => list.filter((condition) => !isOut(condition));
  return {
    ...rule,
    sources: rule.sources?.map(kept) ?? null,
    operations: rule.operations?.map(kept) ?? null,
    conditions: kept(rule.conditions),
  };
}

/** As if they did not. */
function sureOf(rule: MeshRule, action: MeshAction): MeshRule | undefined {
  if (rule.conditions.some(isLater)) return undefined;
  if (action === 'ALLOW' && conditionsOf(rule).some(isOfHttp)) return undefined;
  const kept = (lists: MeshRule['sources']) => lists?.filter((list) => !list.some(isLater)) ?? null;
  return { ...rule, sources: kept(rule.sources), operations: kept(rule.operations) };
}
