/** The mesh question: does the proxy of the destination pod let this connection, or this request on it, pass? */
import type { Outcome, RuleRef } from '../decision.ts';
import type { ResolvedFlow } from '../scene.ts';
import type { FlowPeer, WorldPod } from '../world.ts';
import { type Facts, factsOf } from './facts.ts';
import { matchesRule } from './match.ts';
import { type Authorizations, type Mesh, policiesOf, rulesOf } from './mesh.ts';
import type { Authorization, MeshAction, MeshRule } from './model.ts';
import type { MeshReason, MeshSide } from './side.ts';
import type { PortTls } from './tls.ts';

/** @param isNodeLocal it comes from an address that every node answers itself */
export const decideMesh = (mesh: Mesh, flow: ResolvedFlow, isNodeLocal: boolean): MeshSide =>
  decideMatching(mesh, flow, isNodeLocal, scan);

/** A rule that matches, and whose it is. */
export interface Found {
  readonly policy: Authorization;
  readonly rule: MeshRule;
}

/** The rules that are for a pod, asked about one connection or request. */
export interface Matches {
  /** The first that matches; if none does, the first that may. */
  first(action: 'DENY' | 'ALLOW'): (Found & { readonly isSure: boolean }) | undefined;
  /** All that match, in their order. */
  all(action: 'CUSTOM' | 'AUDIT'): readonly Found[];
  /** Some do not match, and may. */
  some(action: 'CUSTOM'): boolean;
}

/** How they are found. */
export type Finder = (who: Authorizations, facts: Facts) => Matches;

/** Every rule is asked. */
const scan: Finder = (who, facts) => {
  const found = (action: MeshAction, answer: 'yes' | 'maybe'): readonly Found[] =>
    rulesOf(policiesOf(who, action)).filter(({ rule }) => matchesRule(rule, action, facts) === answer);
  return {
    first(action) {
      const [sure] = found(action, 'yes');
      if (sure) return { ...sure, isSure: true };
      const [later] = found(action, 'maybe');
      return later && { ...later, isSure: false };
    },
    all: (action) => found(action, 'yes'),
    some: (action) => found(action, 'maybe').length > 0,
  };
};

/** Whoever finds the rules. */
export function decideMatching(mesh: Mesh, flow: ResolvedFlow, isNodeLocal: boolean, find: Finder): MeshSide {
  const { src, dst, protocol } = flow;
  const passes = (reason: MeshReason): MeshSide => ({ ...ALLOWED, reason, audit: ALLOWED });
  if (dst.type !== 'pod' || !mesh.isMember(dst.pod)) return passes('not-in-mesh');
  if (protocol !== 'TCP') return passes('not-tcp');
  if (src.type === 'pod' && isSamePod(src.pod, dst.pod)) return passes('self');
  if ((src.type === 'node' && src.node === dst.pod.node) || isNodeLocal) return passes('own-node');
  const { enforced, audited } = mesh.at(dst.pod);
  const side = judge(mesh, enforced, flow, find);
  const { verdict, rule, ruleNumber } = audited === enforced ? side : judge(mesh, audited, flow, find);
  return { ...side, audit: { verdict, rule, ruleNumber } };
}

const isSamePod = (a: WorldPod, b: WorldPod): boolean =>
  a === b || (a.name === b.name && a.namespace === b.namespace);

const ALLOWED = { verdict: 'allow', ruleNumber: 0 } as const;

type Judgement = Omit<MeshSide, 'audit'>;

function judge(mesh: Mesh, who: Authorizations, flow: ResolvedFlow, find: Finder): Judgement {
  const tls = who.tls(flow.port ?? 0);
  const come = tlsOfFlow(mesh, flow, tls);
  if (tls.mode === 'STRICT' && come !== 'mutual')
    return { ...ruled(mesh, 'deny', tls.by), reason: 'tls', tls };
  const found = find(who, factsOf(flow, come, tls.mode));
  const logged = who.audit.length === 0 ? [] : found.all('AUDIT').map(({ rule }) => rule.ref);
  const asked = custom(mesh, who.custom, found, flow);
  const more = { tls, ...asked.more, ...(logged.length > 0 ? { logged } : {}) };
  if (asked.denied) return { ...asked.denied, ...more };
  const denying = who.deny.length === 0 ? undefined : found.first('DENY');
  if (denying?.isSure) return { ...ruled(mesh, 'deny', denying.rule.ref), reason: 'rule', ...more };
  const isOpen = asked.isOpen || denying !== undefined;
  return { ...allowing(mesh, who, found, isOpen), ...more };
}

const ruled = (mesh: Mesh, verdict: 'allow' | 'deny', rule: RuleRef | undefined): Outcome => ({
  verdict,
  rule,
  ruleNumber: rule ? mesh.numberOf(rule) : 0,
});

/** @param isOpen rules before these may yet deny some requests */
function allowing(mesh: Mesh, who: Authorizations, found: Matches, isOpen: boolean): Judgement {
  const { allow, deny, closedBy } = who;
  const later = { redirect: true } as const;
  if (allow.length === 0)
    return { ...ALLOWED, reason: deny.length > 0 ? 'no-rule' : 'no-policy', ...(isOpen ? later : {}) };
  const rule = found.first('ALLOW');
  if (rule) {
    const outcome = { ...ruled(mesh, 'allow', rule.rule.ref), reason: 'rule' as const };
    return rule.isSure && !isOpen ? outcome : { ...outcome, ...later };
  }
  return { verdict: 'deny', reason: 'default-deny', ruleNumber: mesh.numberOfDefault(who), closedBy };
}

interface Asked {
  readonly denied?: Judgement;
  readonly more: Pick<MeshSide, 'asks'>;
  readonly isOpen: boolean;
}

/** A pod has one authorizer at most: of several none is asked, and what their rules match is denied. */
function custom(mesh: Mesh, policies: readonly Authorization[], found: Matches, flow: ResolvedFlow): Asked {
  if (policies.length === 0) return { more: {}, isOpen: false };
  const matched = found.all('CUSTOM');
  const single = new Set(policies.map(({ provider }) => provider)).size === 1;
  const denying = matched.find(({ policy }) => !single || flow.providers?.[policy.provider] === 'deny');
  const asks = single
    ? matched.map(({ policy, rule }) => ({ provider: policy.provider, rule: rule.ref }))
    : [];
  const more = asks.length > 0 ? { asks } : {};
  const isOpen = found.some('CUSTOM');
  if (!denying) return { more, isOpen };
  return { denied: { ...ruled(mesh, 'deny', denying.rule.ref), reason: 'custom' }, more, isOpen };
}

/** What is known to those that decide at the destination, a pod with a proxy. */
export function askedFacts(mesh: Mesh, who: Authorizations, flow: ResolvedFlow): Facts {
  const tls = who.tls(flow.port ?? 0);
  return factsOf(flow, tlsOfFlow(mesh, flow, tls), tls.mode);
}

/** Proxies use mutual TLS among themselves wherever it is understood; nobody else has a certificate. */
function tlsOfFlow(mesh: Mesh, { src, peer }: ResolvedFlow, { mode }: PortTls): NonNullable<FlowPeer['tls']> {
  if (peer?.tls) return peer.tls;
  return src.type === 'pod' && mesh.isMember(src.pod) && mode !== 'DISABLE' ? 'mutual' : 'none';
}
