/**
 * Rules by the values that they ask for: what a request costs grows with the conditions that hold for it, not with the
 * rules that there are. Of each list of conditions it is counted how many hold.
 */
import { createAttributeIndex } from './attribute-index.ts';
import type { Facts } from './facts.ts';
import type { Condition, MeshRule } from './model.ts';

export interface RuleIndex {
  /** Places of the rules that match, in order. */
  match(facts: Facts): readonly number[];
}

const SOURCES = 1;
const OPERATIONS = 2;
const CONDITIONS = 4;
/** Of what an Uint32Array holds. */
const LAST_TURN = 2 ** 32 - 1;
const ALL = SOURCES | OPERATIONS | CONDITIONS;

/** A list of conditions all of which must hold. */
interface Group {
  readonly rule: number;
  readonly part: number;
  readonly size: number;
}

export function indexRules(
  rules: readonly Pick<MeshRule, 'sources' | 'operations' | 'conditions'>[],
): RuleIndex {
  const attributes = createAttributeIndex();
  const groups: Group[] = [];
  /** By condition. */
  const groupOf: number[] = [];
  const hasValues: boolean[] = [];
  /** Conditions that hold unless something that they exclude is there. */
  const held: number[] = [];
  const parts = new Uint8Array(rules.length);
  const addGroup = (rule: number, part: number, list: readonly Condition[]): void => {
    const group = groups.push({ rule, part, size: list.length }) - 1;
    held.push(0);
    for (const condition of list) {
      const id = groupOf.push(group) - 1;
      hasValues.push(condition.values.length > 0);
      if (condition.values.length === 0) held[group]!++;
      attributes.add(condition, id * 2, id * 2 + 1);
    }
  };
  for (const [i, { sources, operations, conditions }] of rules.entries()) {
    for (const [part, lists] of [
      [SOURCES, sources],
      [OPERATIONS, operations],
    ] as const)
      if (lists === null) parts[i]! |= part;
      else for (const list of lists) addGroup(i, part, list);
    addGroup(i, CONDITIONS, conditions);
  }
  const base = Uint16Array.from(held);
  const counts = new Uint16Array(base.length);
  const state = new Uint8Array(parts.length);
  /** The turn in which a condition was last met, and excluded. */
  const met = new Uint32Array(groupOf.length);
  const excluded = new Uint32Array(groupOf.length);
  const complete = groups.flatMap(({ size }, i) => (held[i] === size ? [i] : []));
  let turn = 0;
  let matched: number[] = [];
  /** The first `hitCount` are of this turn. */
  const hits: number[] = [];
  let hitCount = 0;
  const hit = (test: number): void => {
    const id = test >> 1;
    if ((test & 1) === 0) hits[hitCount++] = id;
    else if (excluded[id] !== turn) {
      excluded[id] = turn;
      if (!hasValues[id]) counts[groupOf[id]!]!--;
    }
  };
  const finish = (group: number): void => {
    const { rule, part } = groups[group]!;
    const before = state[rule]!;
    state[rule] = before | part;
    if (before !== ALL && state[rule] === ALL) matched.push(rule);
  };
  return {
    match(facts) {
      if (turn === LAST_TURN) {
        met.fill(0);
        excluded.fill(0);
        turn = 0;
      }
      turn++;
      matched = [];
      hitCount = 0;
      counts.set(base);
      state.set(parts);
      attributes.find(facts, hit);
      for (let i = 0; i < hitCount; i++) {
        const id = hits[i]!;
        if (excluded[id] === turn || met[id] === turn) continue;
        met[id] = turn;
        const group = groupOf[id]!;
        counts[group]!++;
        if (counts[group] === groups[group]!.size) finish(group);
      }
      for (const group of complete) if (counts[group] === groups[group]!.size) finish(group);
      return matched.length > 1 ? matched.sort((a, b) => a - b) : matched;
    },
  };
}
