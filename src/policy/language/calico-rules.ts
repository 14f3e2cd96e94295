/**
 * Lowers the rules of Calico's policies. What cannot be read or is not done fails closed: a rule that allows matches
 * nothing then, one that denies or passes denies everything; one that logs logs nothing.
 */
import type { CalicoEntityRule, CalicoRule } from '../../api/calico-types.ts';
import type { SelectorExpression } from '../../api/calico-selector.ts';
import { type Cidr, tryParseCidr } from '../../lib/ip.ts';
import type { Direction, PolicyRef } from '../decision.ts';
import type { Rule, RuleVerdict } from '../model.ts';
import { allOf, anyOf, blockPeer, not, type Peer, rangesPeer } from '../peers.ts';
import { exactly, type HttpMatch, oneOf, startsWith } from '../request.ts';
import {
  both,
  inNamespace,
  type LabelledRanges,
  ofAccount,
  ofNamespace,
  peerOf,
  subjectOf,
  withAccounts,
} from './calico-endpoints.ts';
import { readRulePorts } from './calico-ports.ts';
import { readExpression } from './calico-selector.ts';
import { type NamedService, readServices } from './calico-services.ts';
import type { WorldService } from '../world.ts';
import type { Report } from './read.ts';

/** What a rule takes from its policy. */
export interface RuleContext {
  readonly ref: PolicyRef;
  readonly tier: number;
  readonly priority: number;
  readonly sets: readonly LabelledRanges[];
  readonly services: readonly WorldService[];
  readonly report: Report;
}

const ACTIONS: Readonly<Record<string, RuleVerdict>> = {
  Allow: 'allow',
  Deny: 'deny',
  Pass: 'pass',
  Log: 'allow',
};

export interface LoweredRule {
  readonly rule: Rule;
  /** Of the policy's pods, those that it is for; absent: all. */
  readonly own?: SelectorExpression;
}

export function lowerCalicoRule(
  rule: CalicoRule,
  direction: Direction,
  index: number,
  context: RuleContext,
): LoweredRule {
  const { ref: policy, tier, priority, report } = context;
  const path = `spec.${direction}[${index}]`;
  const ref = { ...policy, direction, index, path };
  const base = { ref, tier, priority };
  const verdict = Object.hasOwn(ACTIONS, rule.action) ? ACTIONS[rule.action] : undefined;
  if (!verdict)
    report(
      `${path}.action`,
      `${JSON.stringify(rule.action)} is none of Allow, Deny, Log, Pass; it denies everything`,
    );
  const isLog = rule.action === 'Log' ? { log: true as const } : {};
  const own = readOwnSide(rule, direction, path, context);
  const service = readService(rule, direction, path, context);
  const peers = service === undefined ? undefined : readPeers(rule, service, direction, path, context);
  const ports = readRulePorts(
    rule.http && !rule.protocol ? { ...rule, protocol: 'TCP' } : rule,
    direction === 'egress' ? service?.ports : undefined,
    path,
    report,
  );
  const l7 = readHttp(rule, direction, `${path}.http`, report);
  if (verdict && own !== undefined && peers !== undefined && ports && l7) {
    const lowered = {
      ...base,
      ...isLog,
      verdict,
      peers,
      ...ports,
      ...l7,
    };
    return { rule: lowered, ...(own ? { own } : {}) };
  }
  if (verdict === 'allow') return { rule: { ...base, ...isLog, verdict, peers: [], ports: [] } };
  return { rule: { ...base, verdict: 'deny', peers: null, ports: null } };
}

/** Of the other end. */
function readService(
  rule: CalicoRule,
  direction: Direction,
  path: string,
  { ref, services, report }: RuleContext,
): NamedService | null | undefined {
  const there = direction === 'ingress' ? 'source' : 'destination';
  return readServices(rule[there] ?? {}, `${path}.${there}`, { namespace: ref.namespace, services, report });
}

/** Null: everybody. */
function readPeers(
  rule: CalicoRule,
  service: NamedService | null,
  direction: Direction,
  path: string,
  context: RuleContext,
): Peer[] | null | undefined {
  const there = direction === 'ingress' ? 'source' : 'destination';
  const peers = service ? [anyOf(service.peers)] : readEntity(rule[there] ?? {}, `${path}.${there}`, context);
  const family = readFamily(rule.ipVersion, `${path}.ipVersion`, context.report);
  if (!peers || !family) return undefined;
  const parts = [...peers, ...family];
  if (parts.length === 0) return null;
  return parts.length === 1 ? parts : [allOf(parts)];
}

/** What a rule says of the pod that the policy is for. Null: nothing. */
function readOwnSide(
  rule: CalicoRule,
  direction: Direction,
  path: string,
  context: RuleContext,
): SelectorExpression | null | undefined {
  const here = direction === 'ingress' ? 'destination' : 'source';
  const entity = rule[here] ?? {};
  const at = `${path}.${here}`;
  if (entity.services)
    context.report(`${at}.services`, "is for the other end, not for the policy's own pods");
  const undone = (['nets', 'notNets'] as const).filter((field) => isGiven(entity[field]));
  for (const field of undone)
    context.report(`${at}.${field}`, "is not done at the policy's own pods, which selectors tell apart");
  const wanted = readEndpoints(entity, at, context);
  const excluded = readText(entity.notSelector, `${at}.notSelector`, context.report);
  if (entity.services || undone.length > 0 || wanted === undefined || excluded === undefined)
    return undefined;
  const parts: SelectorExpression[] = [
    ...(wanted ? [wanted] : []),
    ...(excluded ? [{ op: 'not', of: excluded } as const] : []),
  ];
  if (parts.length === 0) return null;
  const own = both(parts);
  if (subjectOf(own)) return own;
  context.report(at, MIXED);
  return undefined;
}

export const MIXED =
  'says that one of several holds of a pod, of its namespace or of its account; only that all hold is done';

const isGiven = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 : value !== undefined && value !== null && value !== '';

/** All of which must hold. */
function readEntity(entity: CalicoEntityRule, path: string, context: RuleContext): Peer[] | undefined {
  const { report, sets } = context;
  const endpoints = readEndpoints(entity, path, context);
  const excluded = readText(entity.notSelector, `${path}.notSelector`, report);
  const nets = readNets(entity.nets, `${path}.nets`, report);
  const notNets = readNets(entity.notNets, `${path}.notNets`, report);
  if (endpoints === undefined || excluded === undefined || !nets || !notNets) return undefined;
  return [
    ...(endpoints ? [peerOf(endpoints, sets)] : []),
    ...(excluded ? [not(peerOf(excluded, sets))] : []),
    ...(nets.length > 0 ? [rangesPeer(nets)] : []),
    ...(notNets.length > 0 ? [not(rangesPeer(notNets))] : []),
  ];
}

/**
 * Null: the rule selects no endpoints, and is for whatever has an address. A rule of a namespaced policy that selects
 * at all (by notSelector too) selects in its own namespace, unless it selects namespaces itself.
 */
function readEndpoints(
  entity: CalicoEntityRule,
  path: string,
  { ref, report }: RuleContext,
): SelectorExpression | null | undefined {
  const { serviceAccounts: accounts } = entity;
  const selector = readText(entity.selector, `${path}.selector`, report);
  const namespaces = readText(entity.namespaceSelector, `${path}.namespaceSelector`, report, true);
  const byLabel = readText(accounts?.selector, `${path}.serviceAccounts.selector`, report);
  if (selector === undefined || namespaces === undefined || byLabel === undefined) return undefined;
  const names = accounts?.names ?? [];
  const parts = [
    ...(selector ? [selector] : []),
    ...(byLabel ? [ofAccount(byLabel)] : []),
    ...(names.length > 0 ? [withAccounts(names)] : []),
  ];
  const isSelecting = parts.length > 0 || isGiven(entity.notSelector);
  if (namespaces) parts.push(ofNamespace(namespaces));
  else if (isSelecting && ref.namespace !== '') parts.push(inNamespace(ref.namespace));
  return parts.length === 0 ? null : both(parts);
}

/** Null: not given. */
function readText(
  text: string | undefined | null,
  path: string,
  report: Report,
  global = false,
): SelectorExpression | null | undefined {
  if (text === undefined || text === null || text === '') return null;
  const read = readExpression(text, global);
  if (read.ok) return read.expression;
  report(path, read.message);
  return undefined;
}

function readNets(nets: readonly string[] | undefined, path: string, report: Report): Cidr[] | undefined {
  const ranges = (nets ?? []).map((text, i) => {
    const range = typeof text === 'string' ? tryParseCidr(text) : undefined;
    if (!range)
      report(
        `${path}[${i}]`,
        `${JSON.stringify(text)} is not an address range (expected 10.0.0.0/8 or fd00::/64)`,
      );
    return range;
  });
  const known = ranges.filter((range) => range !== undefined);
  return known.length < ranges.length ? undefined : known;
}

function readFamily(version: number | undefined, path: string, report: Report): Peer[] | undefined {
  if (version === undefined || version === null) return [];
  const range = version === 4 ? tryParseCidr('0.0.0.0/0') : version === 6 ? tryParseCidr('::/0') : undefined;
  if (range) return [blockPeer(range, [])];
  report(path, `${JSON.stringify(version)} is neither 4 nor 6`);
  return undefined;
}

function readHttp(
  { http, action, protocol }: CalicoRule,
  direction: Direction,
  path: string,
  report: Report,
): Pick<Rule, 'l7' | 'onward'> | undefined {
  if (http === undefined || http === null) return {};
  if (action !== 'Allow' || direction !== 'ingress') {
    report(path, 'requests are looked at by ingress rules that allow, and by no others');
    return undefined;
  }
  if (protocol !== undefined && protocol !== 6 && String(protocol).toUpperCase() !== 'TCP') {
    report(path, 'needs protocol to be TCP, or absent');
    return undefined;
  }
  const method = http.methods && http.methods.length > 0 ? { method: oneOf(http.methods) } : {};
  const paths = http.paths ?? [];
  if (paths.some(({ exact, prefix }) => isGiven(exact) === isGiven(prefix))) {
    report(`${path}.paths`, 'each needs one of exact and prefix');
    return undefined;
  }
  if (paths.length === 0) return { l7: [{ type: 'http', ...method }], onward: true };
  return {
    onward: true,
    l7: paths.map(
      ({ exact, prefix = '' }): HttpMatch => ({
        type: 'http',
        ...method,
        path: isGiven(exact) ? exactly(exact!) : startsWith(prefix),
      }),
    ),
  };
}
