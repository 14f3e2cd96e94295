/**
 * Rules by the values that they ask for: a rule is asked only if a value is there without which it cannot match. Of all
 * values that would do, it is one that few rules ask for.
 */
import { createAttributeIndex } from './attribute-index.ts';
import type { Facts } from './facts.ts';
import { matchesCondition } from './match.ts';
import type { Condition, MeshRule } from './model.ts';

/** Places of rules; whatever they ask for must be known. */
export interface RuleIndex {
  /** The first that matches; -1: none. */
  first(facts: Facts): number;
  /** In order. */
  all(facts: Facts): readonly number[];
}

type Asking = Pick<MeshRule, 'sources' | 'operations' | 'conditions'>;

/** So few are asked in turn. */
const FEW = 4;

export function indexRules(rules: readonly Asking[]): RuleIndex {
  const candidates = rules.length > FEW ? createCandidates(rules) : undefined;
  const every = [...rules.keys()];
  const of = (facts: Facts) => candidates?.(facts) ?? every;
  return {
    first(facts) {
      if (rules.length === 0) return -1;
      for (const place of of(facts)) if (matches(rules[place]!, facts)) return place;
      return -1;
    },
    all: (facts) => of(facts).filter((place) => matches(rules[place]!, facts)),
  };
}

/** Ascending: all that may match. */
function createCandidates(rules: readonly Asking[]): (facts: Facts) => readonly number[] {
  const attributes = createAttributeIndex();
  const cost = createCost(rules);
  const always: number[] = [];
  for (const [place, rule] of rules.entries()) {
    const anchors = anchorsOf(rule, cost);
    if (!anchors) always.push(place);
    else for (const condition of anchors) attributes.add(condition, place);
  }
  return (facts) => {
    const found = [...always];
    attributes.find(facts, (place) => found.push(place));
    if (found.length === always.length) return always;
    found.sort((a, b) => a - b);
    return found.filter((place, i) => place !== found[i - 1]);
  };
}

type Cost = (condition: Condition) => number;

/** How many rules ask for its values; none says what must be there if it only excludes. */
function createCost(rules: readonly Asking[]): Cost {
  const counts = new Map<string, number>();
  for (const { sources, operations, conditions } of rules)
    for (const condition of [...(sources ?? []), ...(operations ?? []), conditions].flat())
      for (const key of valueKeys(condition)) counts.set(key, (counts.get(key) ?? 0) + 1);
  return (condition) =>
    condition.values.length === 0
      ? Infinity
      : valueKeys(condition).reduce((sum, key) => sum + counts.get(key)!, 0);
}

function valueKeys(condition: Condition): string[] {
  const { attribute } = condition;
  const name =
    attribute === 'header' ? condition.name : attribute === 'claim' ? condition.names.join('\n') : '';
  return condition.values.map((value: unknown) =>
    JSON.stringify([attribute, name, value], (_, part: unknown) =>
      typeof part === 'bigint' ? `${part}` : part,
    ),
  );
}

/** Conditions of which one holds wherever the rule matches; undefined: it excludes, and asks for nothing. */
function anchorsOf({ sources, operations, conditions }: Asking, cost: Cost): Condition[] | undefined {
  let best: Condition[] | undefined;
  let least = Infinity;
  for (const part of [[conditions], operations, sources]) {
    if (part === null) continue;
    const anchors = part.map((list) => cheapest(list, cost));
    const sum = anchors.reduce((all, each) => all + (each ? cost(each) : Infinity), 0);
    if (sum >= least) continue;
    least = sum;
    best = anchors as Condition[];
  }
  return best;
}

function cheapest(conditions: readonly Condition[], cost: Cost): Condition | undefined {
  let best: Condition | undefined;
  for (const each of conditions) if (cost(each) < (best ? cost(best) : Infinity)) best = each;
  return best;
}

function matches({ sources, operations, conditions }: Asking, facts: Facts): boolean {
  return holdAll(conditions, facts) && holdSome(operations, facts) && holdSome(sources, facts);
}

function holdAll(conditions: readonly Condition[], facts: Facts): boolean {
  for (const each of conditions) if (matchesCondition(each, facts) !== 'yes') return false;
  return true;
}

function holdSome(lists: readonly (readonly Condition[])[] | null, facts: Facts): boolean {
  if (lists === null) return true;
  for (const list of lists) if (holdAll(list, facts)) return true;
  return false;
}
