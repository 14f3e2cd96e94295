/**
 * The rules of a pod as Envoy's RBAC filters, for proxies that are Envoys. Mutual TLS is no part of them: it is of the
 * listener's filter chains.
 */
import { ruleKey } from '../decision.ts';
import type { WorldPod } from '../world.ts';
import { type Authorizations, type Mesh, policiesOf, rulesOf } from './mesh.ts';
import type { Condition, MeshAction, MeshRule } from './model.ts';
import { forBytes } from './proxy-rules.ts';
import {
  type Dialect,
  isPermission,
  type Matcher,
  matchersOf,
  PERMISSIONS,
  PRINCIPALS,
} from './rbac-matchers.ts';

/** envoy.config.rbac.v3.RBAC */
export interface Rbac {
  readonly action: 'ALLOW' | 'DENY' | 'LOG';
  /** By the rule's reference: it comes back in access logs and statistics. */
  readonly policies: Readonly<Record<string, RbacPolicy>>;
}

export interface RbacPolicy {
  /** One of them, and one of the principals. */
  readonly permissions: readonly Matcher[];
  readonly principals: readonly Matcher[];
}

/** In the order in which they are asked; what is absent is not asked. */
export interface RbacFilters {
  /** What is matched goes to the authorizer of that name. */
  readonly custom?: { readonly provider: string; readonly rules: Rbac };
  /** Instead, where a pod has several: what is matched is denied. */
  readonly customDeny?: Rbac;
  readonly audit?: Rbac;
  readonly deny?: Rbac;
  readonly allow?: Rbac;
}

/** Of what is enforced at a pod. @param of which filter chain: that for HTTP, or that for other connections */
export function renderRbac(mesh: Mesh, pod: WorldPod, of: 'http' | 'tcp'): RbacFilters {
  const { enforced } = mesh.at(pod);
  const filter = (action: MeshAction, rbac: Rbac['action']): Rbac | undefined =>
    policiesOf(enforced, action).length === 0 ? undefined : rbacOf(enforced, action, rbac, of);
  const providers = [...new Set(enforced.custom.map(({ provider }) => provider))];
  const custom = filter('CUSTOM', 'DENY');
  const [audit, deny, allow] = [filter('AUDIT', 'LOG'), filter('DENY', 'DENY'), filter('ALLOW', 'ALLOW')];
  return {
    ...(custom && providers.length === 1 ? { custom: { provider: providers[0]!, rules: custom } } : {}),
    ...(custom && providers.length > 1 ? { customDeny: custom } : {}),
    ...(audit ? { audit } : {}),
    ...(deny ? { deny } : {}),
    ...(allow ? { allow } : {}),
  };
}

function rbacOf(who: Authorizations, action: MeshAction, rbac: Rbac['action'], of: 'http' | 'tcp'): Rbac {
  const rules = rulesOf(policiesOf(who, action)).flatMap(({ rule }) => {
    const own = of === 'tcp' ? forBytes(rule, action) : rule;
    return own ? [[ruleKey(rule.ref), policyOf(own)] as const] : [];
  });
  return { action: rbac, policies: Object.fromEntries(rules) };
}

/** Conditions are put where Envoy looks for them; to each operation, or to each source, those are added. */
function policyOf({ sources, operations, conditions }: MeshRule): RbacPolicy {
  const always = (isPart: (condition: Condition) => boolean) => conditions.filter(isPart);
  const isSource = (condition: Condition) => !isPermission(condition);
  return {
    permissions: (operations ?? [[]]).map((each) => allOf([...each, ...always(isPermission)], PERMISSIONS)),
    principals: (sources ?? [[]]).map((each) => allOf([...each, ...always(isSource)], PRINCIPALS)),
  };
}

function allOf(conditions: readonly Condition[], dialect: Dialect): Matcher {
  const matchers = conditions.flatMap((condition) => matchersOf(condition, dialect));
  return matchers.length === 0 ? { any: true } : dialect.all(matchers);
}
