/** Rules of projectcalico.org/v3 policies, checked as Calico checks them; what is not done is refused by name. */
import { tryParseCidr } from '../lib/ip.ts';
import { parseSelectorExpression, usesGlobal } from './calico-selector.ts';
import type { CalicoEntityRule, CalicoIcmp, CalicoRule } from './calico-types.ts';
import {
  CALICO_PROTOCOLS,
  calicoPort,
  calicoProtocol,
  hasPorts,
  NOT_BESIDE_SERVICES,
} from './calico-values.ts';
import {
  forbidden,
  invalid,
  notSupported,
  type Problems,
  required,
  tooLong,
  tooMany,
} from './field-error.ts';
import { validateAnnotations } from './metadata.ts';

const ACTIONS = ['Allow', 'Deny', 'Log', 'Pass'];
const MOST_RULES = 1024;
const MOST_NETS = 256;
const MOST_PORTS = 50;
const MOST_HTTP = 20;
const MOST_SELECTOR = 1024;
const ICMP = 1;
const ICMP6 = 58;

/** `global`: whether `global()` may be there, alone. */
export function* validateSelector(text: string | undefined, path: string, global = false): Problems {
  if (text === undefined) return;
  if (Buffer.byteLength(text) > MOST_SELECTOR) yield tooLong(path, MOST_SELECTOR);
  const parsed = parseSelectorExpression(text);
  if (!parsed.ok) yield invalid(path, text, parsed.message);
  else if (usesGlobal(parsed.expression) && !(global && parsed.expression.op === 'global'))
    yield invalid(
      path,
      text,
      'global() may only be the whole of the namespaceSelector of a source or destination',
    );
}

interface RulesPlace {
  readonly direction: 'ingress' | 'egress';
  /** Of a policy for all namespaces. */
  readonly global: boolean;
}

export function* validateRules(rules: readonly CalicoRule[] | undefined, place: RulesPlace): Problems {
  const { direction } = place;
  const path = `spec.${direction}`;
  if (rules && rules.length > MOST_RULES) yield tooMany(path, rules.length, MOST_RULES);
  for (const [i, rule] of (rules ?? []).entries()) yield* validateRule(rule, place, `${path}[${i}]`);
}

function* validateRule(rule: CalicoRule, place: RulesPlace, path: string): Problems {
  const { action, ipVersion, source = {}, destination = {}, metadata } = rule;
  if (!action) yield required(`${path}.action`);
  else if (!ACTIONS.includes(action)) yield notSupported(`${path}.action`, action, ACTIONS);
  if (ipVersion !== undefined && ipVersion !== 4 && ipVersion !== 6)
    yield notSupported(`${path}.ipVersion`, ipVersion, ['4', '6']);
  yield* validateProtocols(rule, path);
  yield* validateIcmp(rule.icmp, `${path}.icmp`);
  yield* validateIcmp(rule.notICMP, `${path}.notICMP`);
  const named = hasPorts(calicoProtocol(rule.protocol));
  yield* validateEntity(source, `${path}.source`, named);
  yield* validateEntity(destination, `${path}.destination`, named);
  yield* validateFamilies(rule, path);
  yield* validateServices(rule, place, path);
  yield* validateHttp(rule, place.direction, `${path}.http`);
  yield* validateAnnotations(metadata?.annotations, `${path}.metadata.annotations`);
}

function* validateProtocols(rule: CalicoRule, path: string): Problems {
  for (const field of ['protocol', 'notProtocol'] as const) {
    const value = rule[field];
    if (value === undefined) continue;
    const number = calicoProtocol(value);
    if (number === undefined)
      yield invalid(
        `${path}.${field}`,
        value,
        `must be one of ${CALICO_PROTOCOLS.join(', ')}, or a number from 1 to 255`,
      );
    for (const [protocol, family] of [
      [ICMP, 4],
      [ICMP6, 6],
    ] as const)
      if (number === protocol && rule.ipVersion !== undefined && rule.ipVersion !== family)
        yield invalid(`${path}.ipVersion`, rule.ipVersion, `must be ${family} with ${field} ${value}`);
  }
  const number = calicoProtocol(rule.protocol);
  for (const field of ['icmp', 'notICMP'] as const)
    if (rule[field] && number !== ICMP && number !== ICMP6)
      yield invalid(`${path}.${field}`, 'object', 'needs protocol to be ICMP or ICMPv6');
}

function* validateIcmp(icmp: CalicoIcmp | undefined, path: string): Problems {
  if (!icmp) return;
  const { type, code } = icmp;
  if (type !== undefined && (type < 0 || type > 254))
    yield invalid(`${path}.type`, type, 'must be from 0 to 254');
  if (code !== undefined && (code < 0 || code > 255))
    yield invalid(`${path}.code`, code, 'must be from 0 to 255');
  if (code !== undefined && type === undefined) yield required(`${path}.type`, 'code is one of a type');
}

function* validateEntity(entity: CalicoEntityRule, path: string, hasPortNumbers: boolean): Problems {
  yield* validateSelector(entity.selector, `${path}.selector`);
  yield* validateSelector(entity.notSelector, `${path}.notSelector`);
  yield* validateSelector(entity.namespaceSelector, `${path}.namespaceSelector`, true);
  yield* validateSelector(entity.serviceAccounts?.selector, `${path}.serviceAccounts.selector`);
  for (const [i, name] of (entity.serviceAccounts?.names ?? []).entries())
    if (name === '') yield required(`${path}.serviceAccounts.names[${i}]`);
  for (const field of ['nets', 'notNets'] as const) yield* validateNets(entity[field], `${path}.${field}`);
  for (const field of ['ports', 'notPorts'] as const) {
    const ports = entity[field] ?? [];
    if (ports.length > 0 && !hasPortNumbers)
      yield invalid(`${path}.${field}`, 'array', 'needs protocol to be TCP, UDP or SCTP');
    if (ports.length > MOST_PORTS) yield tooMany(`${path}.${field}`, ports.length, MOST_PORTS);
    for (const [i, port] of ports.entries()) yield* validatePort(port, field, path, i);
  }
}

const isGiven = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 : value !== undefined && value !== '';

/** They are for the other end than that of the policy's own pods. */
function* validateServices(rule: CalicoRule, place: RulesPlace, path: string): Problems {
  const there = place.direction === 'ingress' ? 'source' : 'destination';
  const here = there === 'source' ? 'destination' : 'source';
  if (rule[here]?.services)
    yield forbidden(`${path}.${here}.services`, `not allowed in ${place.direction} rule ${here}`);
  const entity = rule[there] ?? {};
  const { services } = entity;
  if (!services) return;
  const at = `${path}.${there}.services`;
  if (!services.name) yield required(`${at}.name`);
  if (place.global && !services.namespace)
    yield required(`${at}.namespace`, 'of a policy for all namespaces');
  const ports = there === 'destination' ? (['ports', 'notPorts'] as const) : [];
  for (const field of [...NOT_BESIDE_SERVICES, ...ports])
    if (isGiven(entity[field])) yield forbidden(at, `may not be used with ${field}`);
}

function* validatePort(value: number | string, field: string, path: string, i: number): Problems {
  const at = `${path}.${field}[${i}]`;
  const port = calicoPort(value);
  if (!port)
    yield invalid(
      at,
      value,
      'must be a port from 1 to 65535, a range of them (80:90), or the name of a port',
    );
  else if ('name' in port && field === 'notPorts')
    yield forbidden(at, 'names of ports are not done here; ports is');
}

export function* validateNets(nets: readonly string[] | undefined, path: string): Problems {
  if (nets && nets.length > MOST_NETS) yield tooMany(path, nets.length, MOST_NETS);
  for (const [i, text] of (nets ?? []).entries())
    if (!tryParseCidr(text))
      yield invalid(`${path}[${i}]`, text, 'must be a CIDR (e.g. 10.9.8.0/24 or 2001:db8::/64)');
}

/** A rule whose ranges are of both families would never match. */
function* validateFamilies(rule: CalicoRule, path: string): Problems {
  let known: number | undefined = rule.ipVersion;
  for (const end of ['source', 'destination'] as const)
    for (const field of ['nets', 'notNets'] as const)
      for (const [i, text] of (rule[end]?.[field] ?? []).entries()) {
        const family = tryParseCidr(text)?.family;
        if (family !== undefined && known !== undefined && family !== known)
          yield invalid(
            `${path}.${end}.${field}[${i}]`,
            text,
            `must be of IPv${known}, like the rest of the rule: a connection has one family`,
          );
        known ??= family;
      }
}

function* validateHttp(rule: CalicoRule, direction: 'ingress' | 'egress', path: string): Problems {
  const { http, action } = rule;
  if (!http) return;
  const { methods = [], paths = [] } = http;
  if (action !== 'Allow') yield forbidden(path, 'only rules that allow may look at requests');
  if (direction === 'egress') yield forbidden(path, 'not allowed in egress rules');
  if (rule.protocol !== undefined && calicoProtocol(rule.protocol) !== 6)
    yield invalid(path, 'object', 'needs protocol to be TCP, or absent');
  if (methods.length > MOST_HTTP) yield tooMany(`${path}.methods`, methods.length, MOST_HTTP);
  if (paths.length > MOST_HTTP) yield tooMany(`${path}.paths`, paths.length, MOST_HTTP);
  for (const [i, each] of paths.entries()) {
    const given = [each.exact, each.prefix].filter((text) => text !== undefined && text !== '');
    if (given.length !== 1)
      yield invalid(`${path}.paths[${i}]`, 'object', 'must have one of exact and prefix');
    for (const text of given)
      if (text && !text.startsWith('/')) yield invalid(`${path}.paths[${i}]`, text, "must begin with '/'");
  }
}
