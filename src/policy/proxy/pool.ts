/** What the tables of a proxy have in common, each once. */
import { fingerprint } from '../numbers.ts';
import type { RequestMatch } from '../request.ts';
import type { RuleInfo } from '../tables.ts';
import { formOf } from './forms.ts';
import type { ProxyRules, RequestForm, RequestRules, Step } from './model.ts';
import { isRules } from './steps.ts';

/** Keys that follow from what is said. */
export interface Pool {
  requests(matches: readonly RequestMatch[]): string;
  set(rules: RequestRules): string;
}

export function createPool() {
  const requests = new Map<string, readonly RequestForm[]>();
  const sets = new Map<string, RequestRules>();
  const add = <T>(to: Map<string, T>, value: T): string => {
    const key = fingerprint(JSON.stringify(value));
    to.set(key, value);
    return key;
  };
  return {
    requests: (matches: readonly RequestMatch[]) => add(requests, matches.map(formOf)),
    set: (rules: RequestRules) => add(sets, rules),
    all(words: ReadonlyMap<number, RuleInfo>): Omit<ProxyRules, 'tables'> {
      const used = new Set(
        [...sets.values()].flatMap(({ enforced, audit = [] }) => [...enforced, ...audit]).flatMap(numbersIn),
      );
      const rules = [...used].sort((a, b) => a - b).flatMap((number) => words.get(number) ?? []);
      return {
        sets: byKey(sets),
        requests: byKey(requests),
        rules: Object.fromEntries(rules.map((info) => [info.number, info])),
      };
    },
  };
}

const numbersIn = (step: Step): number[] =>
  isRules(step) ? step.rules.map(({ rule }) => rule) : [step.rule];

const byKey = <T>(map: ReadonlyMap<string, T>): Record<string, T> =>
  Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
