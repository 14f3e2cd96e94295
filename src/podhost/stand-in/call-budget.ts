/**
 * How deep and how wide a tree of calls may grow: each request carries what is left of both, and gives its calls their
 * parts. Nothing that comes from outside can raise it. Pure.
 */

/** Carries the budget of a request: `hops=7,calls=12`. */
export const BUDGET_HEADER = 'heddle-calls-left';

export interface CallBudget {
  /** Stand-ins one behind another that may follow. */
  hops: number;
  /** Calls of the whole tree below. */
  calls: number;
}

export const MOST: CallBudget = { hops: 8, calls: 64 };

/** What a request may spend; one without a word of it begins a tree. */
export function budgetOf(header: string | string[] | undefined): CallBudget {
  if (header === undefined) return MOST;
  const [, hops, calls] = /^hops=(\d{1,3}),calls=(\d{1,3})$/.exec(String(header)) ?? [];
  // Whoever writes nonsense gets an answer, but no calls.
  if (hops === undefined || calls === undefined) return { hops: 0, calls: 0 };
  return { hops: Math.min(MOST.hops, Number(hops)), calls: Math.min(MOST.calls, Number(calls)) };
}

/** For each of `count` calls what it may spend itself, or why they are not made. */
export function share(budget: CallBudget, count: number): CallBudget | string {
  if (budget.hops === 0) return `${MOST.hops} calls one behind another are enough`;
  if (budget.calls < count) return `${MOST.calls} calls for one request are enough`;
  return { hops: budget.hops - 1, calls: Math.floor((budget.calls - count) / count) };
}

export const formatBudget = ({ hops, calls }: CallBudget): string => `hops=${hops},calls=${calls}`;
