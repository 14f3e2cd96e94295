/**
 * How large one table may grow. A table has an entry for each class of peers and each of their ports, so that many rules
 * with many ports for everybody, and many ranges told apart by others, multiply. What no data path could hold is not
 * worked out: the policies with the most entries are closed until the rest fits.
 */
import type { Role } from './build-table.ts';
import type { PeerClass } from './identities.ts';
import { comparePolicies, type Policy, type Rule } from './model.ts';
import { closedRef, isConditional } from './numbering.ts';
import type { PolicyProblem } from './tables.ts';
import { neededTerms } from './terms.ts';

/** Entries, as they are counted here. */
export const TABLE_LIMIT = 131_072;

export interface Fitted {
  /** The very same one if all of it fits. */
  readonly role: Role;
  /** Of the policies that are closed. */
  readonly problems: readonly PolicyProblem[];
}

const portsOf = ({ ports }: Rule): number => Math.max(1, ports?.length ?? 0);

/** Entries are never more than twice that, however many classes there are. */
export const entriesAtMost = (role: Role, classes: number): number =>
  role.rules.reduce((sum, rule) => sum + portsOf(rule), 0) * (classes + 1);

/** @param classes those that may have entries of their own */
export function fitRole(role: Role, classes: readonly PeerClass[], limit = TABLE_LIMIT): Fitted {
  if (entriesAtMost(role, classes.length) <= limit) return { role, problems: [] };
  const weights = weightsOf(role, classes);
  let left = weights.reduce((sum, { weight }) => sum + weight, 0);
  const closed = new Map<Policy, number>();
  for (const { policy, weight } of weights) {
    if (left <= limit) break;
    closed.set(policy, weight);
    left -= weight;
  }
  if (closed.size === 0) return { role, problems: [] };
  return {
    role: withClosed(role, new Set(closed.keys())),
    problems: [...closed].map(([policy, weight]) => problemOf(policy, role, weight, limit)),
  };
}

interface Weight {
  readonly policy: Policy;
  readonly weight: number;
}

/** How many entries each policy asks for at most, the most first. */
function weightsOf({ policies, direction }: Role, classes: readonly PeerClass[]): Weight[] {
  const counts = new Map<string, number>();
  for (const { terms } of classes) for (const term of terms) counts.set(term, (counts.get(term) ?? 0) + 1);
  const classesOf = ({ peers, log }: Rule): number => {
    if (log) return 0;
    const needed = (peers ?? [undefined]).map((peer) => peer && neededTerms(peer));
    if (needed.some((terms) => !terms)) return classes.length + 1;
    const terms = new Set(needed.flatMap((each) => each ?? []));
    return Iterator.from(terms).reduce((sum, term) => sum + (counts.get(term) ?? 0), 0);
  };
  return policies
    .map((policy) => {
      const rules = policy.rules.filter(({ ref }) => ref.direction === direction);
      return { policy, weight: rules.reduce((sum, rule) => sum + portsOf(rule) * classesOf(rule), 0) };
    })
    .sort((a, b) => b.weight - a.weight || comparePolicies(a.policy.ref, b.policy.ref));
}

/**
 * Fails closed: what allows allows nothing; what denies or passes denies everything. So does what allows on a condition (of
 * requests, of proof): without it another rule, or none, would allow the same without.
 */
function withClosed(role: Role, policies: ReadonlySet<Policy>): Role {
  const closed = new Map<Rule, Rule>();
  for (const policy of policies)
    for (const rule of policy.rules)
      closed.set(
        rule,
        rule.verdict === 'allow' && !isConditional(rule)
          ? { ...rule, peers: [], ports: [] }
          : denyingAll(rule),
      );
  const now = (rule: Rule): Rule => closed.get(rule) ?? rule;
  return {
    ...role,
    rules: role.rules.map(now),
    audited: role.audited && new Set([...role.audited].map(now)),
  };
}

/** What a rule does is the same in all tables: one that allows elsewhere denies under another name. */
const denyingAll = ({ l7: _requests, onward: _next, auth: _proof, ...rule }: Rule): Rule => ({
  ...rule,
  ref: rule.verdict === 'allow' ? closedRef(rule.ref) : rule.ref,
  peers: null,
  ports: null,
  verdict: 'deny',
});

function problemOf(policy: Policy, { direction }: Role, weight: number, limit: number): PolicyProblem {
  const { kind, namespace, name, part } = policy.ref;
  return {
    policy: { kind, namespace, name, ...(part === undefined ? {} : { part }) },
    path: `spec.${direction}`,
    message:
      `asks for up to ${weight} entries in a table, which with those of the other policies of its pods may hold ` +
      `${limit}: its rules for ${direction} fail closed where they are enforced`,
  };
}
