/**
 * Policies in the cluster-wide languages of policy.networking.k8s.io: ClusterNetworkPolicy (v1alpha2), and
 * AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1).
 */
import { NAMESPACE_NAME } from '../../api/labels.ts';
import type {
  AdminNetworkPolicy,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  PolicySubject,
} from '../../api/types.ts';
import type { Direction } from '../decision.ts';
import type { Policy } from '../model.ts';
import type { PolicyObject } from '../objects.ts';
import { BASELINE_PRIORITY, TIERS } from '../tiers.ts';
import { ADMIN, CLUSTER, type Dialect, type RuleParts, rulesIn } from './cluster-rules.ts';
import type { Grants } from './grants.ts';
import { anybody, BOTH, type Lose } from './loss.ts';
import { metadataOf, namespacesOf, written } from './written.ts';

export type ClusterWide = AdminNetworkPolicy | BaselineAdminNetworkPolicy | ClusterNetworkPolicy;

interface Draft {
  readonly policy: Policy;
  readonly name: string;
  readonly subject: object;
  readonly tier: 'Admin' | 'Baseline';
  readonly priority: number;
  readonly rules: Readonly<Record<Direction, readonly RuleParts[]>>;
}

/**
 * Of policies that close their pods: what they let pass, and behind it that the rest is denied. As ClusterNetworkPolicies
 * in tier Baseline, behind NetworkPolicies; as AdminNetworkPolicies before them, with the last priorities.
 */
export function grantsToCluster(
  grants: Grants,
  name: string,
  language: 'cluster' | 'admin',
  lose: Lose,
): ClusterWide[] {
  const { policy, namespace, pods, rules } = grants;
  const dialect = language === 'cluster' ? CLUSTER : ADMIN;
  const [tier, first] = language === 'cluster' ? (['Baseline', 0] as const) : (['Admin', 999] as const);
  const subject = subjectOf(namespace, written(pods));
  const allow = (direction: Direction) =>
    (rules[direction] ?? []).map(
      ({ ref, peers, ports }): RuleParts => ({ direction, path: ref.path, verdict: 'allow', peers, ports }),
    );
  const close = (direction: Direction): RuleParts[] =>
    rules[direction] === undefined
      ? []
      : [{ direction, path: `spec.${direction}`, verdict: 'deny', peers: null, ports: null }];
  const drafts: Draft[] = [
    { rules: { ingress: allow('ingress'), egress: allow('egress') }, more: '' },
    { rules: { ingress: close('ingress'), egress: close('egress') }, more: '.rest' },
  ]
    .filter((each) => BOTH.some((direction) => each.rules[direction].length > 0))
    .map(({ rules: own, more }) => ({
      policy,
      name: `${name}${more}`,
      subject,
      tier,
      priority: more === '' ? first : first + 1,
      rules: own,
    }));
  return together(drafts.map((draft) => objectOf(draft, dialect, lose)));
}

/** A closing rule without what it closes would be something else. */
const together = (list: readonly (ClusterWide | undefined)[]): ClusterWide[] => {
  const known = list.filter((each) => each !== undefined);
  return known.length < list.length ? [] : known;
};

/** Of a policy that is cluster-wide already. `others` of the last baseline priority: names decide between those. */
export function clusterToCluster(
  policy: Policy,
  name: string,
  language: 'cluster' | 'admin',
  others: boolean,
  lose: Lose,
): ClusterWide[] {
  const { subject, tier, rules } = policy;
  const priority = rules[0]?.priority ?? 0;
  if (priority === BASELINE_PRIORITY)
    lose(
      'spec',
      `stands behind every other one; now with those of priority ${LAST_PRIORITY}`,
      others ? anybody() : NO_FLOWS,
    );
  const of = (direction: Direction) =>
    rules
      .filter(({ ref }) => ref.direction === direction)
      .map(
        ({ ref, verdict, peers, ports }): RuleParts => ({
          direction,
          path: ref.path,
          title: ref.title,
          verdict,
          peers,
          ports,
        }),
      );
  const pods = written(subject.pods.written ?? {});
  const namespaces = namespacesOf(subject);
  const draft: Draft = {
    policy,
    name,
    subject:
      Object.keys(pods).length === 0
        ? { namespaces }
        : { pods: { namespaceSelector: namespaces, podSelector: pods } },
    tier: tier === TIERS.admin ? 'Admin' : 'Baseline',
    priority: Math.min(priority, LAST_PRIORITY),
    rules: { ingress: of('ingress'), egress: of('egress') },
  };
  return together([objectOf(draft, language === 'cluster' ? CLUSTER : ADMIN, lose)]);
}

const LAST_PRIORITY = BASELINE_PRIORITY - 1;

/** A BaselineAdminNetworkPolicy has no priority; said as a ClusterNetworkPolicy it shares this one's. */
export const isLastBaseline = (object: PolicyObject): boolean =>
  object.kind === 'ClusterNetworkPolicy' &&
  object.spec.tier === 'Baseline' &&
  object.spec.priority === LAST_PRIORITY;

const NO_FLOWS = { directions: [], others: 'any' } as const;

function subjectOf(namespace: string, podSelector: object): object {
  const namespaces = { matchLabels: { [NAMESPACE_NAME]: namespace } };
  return Object.keys(podSelector).length === 0
    ? { namespaces }
    : { pods: { namespaceSelector: namespaces, podSelector } };
}

/** Undefined: it cannot be said. */
function objectOf(draft: Draft, dialect: Dialect, lose: Lose): ClusterWide | undefined {
  const { policy, name, tier, priority } = draft;
  const subject = draft.subject as PolicySubject;
  const said = BOTH.map((direction) => [direction, rulesIn(dialect, draft.rules[direction], lose)] as const);
  for (const [direction, list] of said)
    if (list.length > dialect.most) {
      lose(
        'spec',
        `has ${list.length} ${direction} rules, and at most ${dialect.most} can be said`,
        anybody(),
      );
      return undefined;
    }
  const rules = Object.fromEntries(said.filter(([, list]) => list.length > 0));
  const metadata = metadataOf(policy, name, undefined);
  if (dialect === CLUSTER)
    return {
      apiVersion: 'policy.networking.k8s.io/v1alpha2',
      kind: 'ClusterNetworkPolicy',
      metadata,
      spec: { tier, priority, subject, ...rules },
    };
  if (tier === 'Admin')
    return {
      apiVersion: 'policy.networking.k8s.io/v1alpha1',
      kind: 'AdminNetworkPolicy',
      metadata,
      spec: { priority, subject, ...rules },
    };
  if (BOTH.some((direction) => draft.rules[direction].some(({ verdict }) => verdict === 'pass'))) {
    lose('spec', 'passes, which a baseline cannot', anybody());
    return undefined;
  }
  return {
    apiVersion: 'policy.networking.k8s.io/v1alpha1',
    kind: 'BaselineAdminNetworkPolicy',
    metadata: { ...metadata, name: 'default' },
    spec: { subject, ...rules },
  };
}
