/**
 * What a proxy is given for a pod: its rules by index, in the forms that connections and requests need. It says what
 * `decideMesh` says.
 */
import type { ResolvedFlow } from '../scene.ts';
import { decideMatching, type Finder, type Found, type Matches } from './decide.ts';
import type { Facts } from './facts.ts';
import { type Authorizations, type Mesh, policiesOf, rulesOf } from './mesh.ts';
import { type Condition, conditionsOf, isOfHttp, type MeshAction, type MeshRule } from './model.ts';
import { indexRules } from './rule-index.ts';
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
  const form = (change: Change): (() => Form) => {
    let made: Form | undefined;
    return () => (made ??= formOf(who, change));
  };
  const http = form((rule) => rule);
  const bytes = form(forBytes);
  /** By what is known before the request: neither, the server's name, the address of who began, both. */
  const before = [false, true].flatMap((hasRemote) =>
    [false, true].map((hasSni) => {
      const isLater: IsLater = (condition) =>
        isOfHttp(condition) ||
        (!hasSni && condition.attribute === 'sni') ||
        (!hasRemote && condition.attribute === 'remote-ip');
      return {
        sure: form((rule, action) => sureOf(rule, action, isLater)),
        possible: form((rule) => without(rule, isLater)),
      };
    }),
  );
  return {
    find(facts) {
      if (facts.request === 'bytes') return settled(bytes(), facts);
      if (facts.request !== 'unknown') return settled(http(), facts);
      const { sure, possible } = before[Number(facts.sni !== null) + 2 * Number(facts.remote !== null)]!;
      return {
        first: (action) => sure().first(action, facts) ?? later(possible().first(action, facts)),
        all: (action) => sure().all(action, facts),
        some(action) {
          const isSure = new Set(
            sure()
              .all(action, facts)
              .map(({ rule }) => rule),
          );
          return possible()
            .all(action, facts)
            .some(({ rule }) => !isSure.has(rule));
        },
      };
    },
  };
}

const settled = (form: Form, facts: Facts): Matches => ({
  first: (action) => form.first(action, facts),
  all: (action) => form.all(action, facts),
  some: () => false,
});

const later = (found: Sure | undefined) => found && { ...found, isSure: false };

type Change = (rule: MeshRule, action: MeshAction) => MeshRule | undefined;
type Sure = Found & { readonly isSure: true };

interface Form {
  first(action: 'DENY' | 'ALLOW', facts: Facts): Sure | undefined;
  all(action: 'CUSTOM' | 'AUDIT', facts: Facts): readonly Found[];
}

function formOf(who: Authorizations, change: Change): Form {
  const [custom, deny, allow, audit] = [
    ofAction(who, 'CUSTOM', change),
    ofAction(who, 'DENY', change),
    ofAction(who, 'ALLOW', change),
    ofAction(who, 'AUDIT', change),
  ];
  return {
    first(action, facts) {
      const { kept, index } = action === 'DENY' ? deny : allow;
      return kept[index.first(facts)];
    },
    all(action, facts) {
      const { kept, index } = action === 'CUSTOM' ? custom : audit;
      return index.all(facts).map((place) => kept[place]!);
    },
  };
}

/** Only the first of equal rules decides; the others are left out where no list of all is asked for. */
function ofAction(who: Authorizations, action: MeshAction, change: Change) {
  const isListed = action === 'CUSTOM' || action === 'AUDIT';
  const seen = new Set<string>();
  const kept: Sure[] = [];
  const rules: MeshRule[] = [];
  for (const { policy, rule } of rulesOf(policiesOf(who, action))) {
    const changed = change(rule, action);
    if (!changed) continue;
    const text = isListed ? '' : textOf(changed);
    if (!isListed && seen.has(text)) continue;
    seen.add(text);
    kept.push({ policy, rule, isSure: true });
    rules.push(changed);
  }
  return { kept, index: indexRules(rules) };
}

/** Equal texts match the same. */
const textOf = ({ sources, operations, conditions }: MeshRule): string =>
  JSON.stringify([sources, operations, conditions], (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}` : value,
  );

type IsLater = (condition: Condition) => boolean;

/** What only HTTP has is left out; a rule that allows and asks for it is out. */
export function forBytes(rule: MeshRule, action: MeshAction): MeshRule | undefined {
  if (action === 'ALLOW' && conditionsOf(rule).some(isOfHttp)) return undefined;
  return without(rule, isOfHttp);
}

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
function sureOf(rule: MeshRule, action: MeshAction, isLater: IsLater): MeshRule | undefined {
  if (rule.conditions.some(isLater)) return undefined;
  if (action === 'ALLOW' && conditionsOf(rule).some(isOfHttp)) return undefined;
  const kept = (lists: MeshRule['sources']) => lists?.filter((list) => !list.some(isLater)) ?? null;
  return { ...rule, sources: kept(rule.sources), operations: kept(rule.operations) };
}
