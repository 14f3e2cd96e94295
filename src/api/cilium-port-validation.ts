/** Ports, ICMP messages and requests of Cilium's rules. */
import { validateName } from './cilium-peer-validation.ts';
import type {
  CiliumHeaderMatch,
  CiliumHttpRule,
  CiliumIcmpRule,
  CiliumKafkaRule,
  CiliumL7Rules,
  CiliumPort,
  CiliumPortRule,
} from './cilium-policy-types.ts';
import {
  ICMP_FAMILIES,
  icmpType,
  isPortName,
  KAFKA_KEYS,
  KAFKA_ROLES,
  PORT_PROTOCOLS,
  portNumberOf,
  PROTOCOL_NUMBERS,
  REFUSED_PORT_PARTS,
} from './cilium-words.ts';
import { forbidden, invalid, notSupported, type Problems, tooMany } from './field-error.ts';

const MOST = 40;
const L7_KINDS = ['http', 'kafka', 'dns', 'l7proto', 'l7'] as const;

function* validatePort({ port = '', endPort = 0, protocol = 'ANY' }: CiliumPort, path: string): Problems {
  if (!PORT_PROTOCOLS.includes(protocol)) yield notSupported(`${path}.protocol`, protocol, PORT_PROTOCOLS);
  const number = port === '' ? 0 : portNumberOf(port);
  if (number === undefined && !isPortName(port))
    yield invalid(`${path}.port`, port, 'must be a number from 0 to 65535, or the name of a port');
  if (Object.hasOwn(PROTOCOL_NUMBERS, protocol) && number !== 0)
    yield invalid(`${path}.port`, port, `must be absent or 0: ${protocol} has no ports`);
  if (endPort === 0) return;
  if (number === undefined || number === 0)
    yield invalid(`${path}.endPort`, endPort, 'needs the number of the first port of the range in `port`');
  else if (endPort < number || endPort > 65_535)
    yield invalid(`${path}.endPort`, endPort, `must be from ${number} to 65535`);
}

function* validateHeader({ name, mismatch, secret }: CiliumHeaderMatch, path: string): Problems {
  if (name === '') yield invalid(`${path}.name`, name, 'must be the name of a header');
  if (mismatch !== undefined && mismatch !== '')
    yield forbidden(`${path}.mismatch`, 'requests are not changed, and none passes only to be logged');
  if (secret !== undefined) yield forbidden(`${path}.secret`, 'values are not read from Secrets');
}

function* validateHttp(rule: CiliumHttpRule, path: string): Problems {
  for (const [i, header] of (rule.headers ?? []).entries())
    if (header.trim() === '') yield invalid(`${path}.headers[${i}]`, header, 'must be the name of a header');
  for (const [i, match] of (rule.headerMatches ?? []).entries())
    yield* validateHeader(match, `${path}.headerMatches[${i}]`);
}

function* validateKafka({ role, apiKey, apiVersion, topic }: CiliumKafkaRule, path: string): Problems {
  if (role && apiKey) yield forbidden(`${path}.apiKey`, 'may not be used with `role`');
  if (role && !Object.hasOwn(KAFKA_ROLES, role))
    yield notSupported(`${path}.role`, role, Object.keys(KAFKA_ROLES));
  if (apiKey && !Object.hasOwn(KAFKA_KEYS, apiKey.toLowerCase()))
    yield notSupported(`${path}.apiKey`, apiKey, Object.keys(KAFKA_KEYS));
  if (apiVersion && !/^\d{1,5}$/.test(apiVersion))
    yield invalid(`${path}.apiVersion`, apiVersion, 'must be a number');
  if (topic && !/^[\w.-]{1,255}$/.test(topic))
    yield invalid(`${path}.topic`, topic, 'must be at most 255 letters, digits, dots, - and _');
}

function* validateRequests(rules: CiliumL7Rules, ports: readonly CiliumPort[], path: string): Problems {
  const given = L7_KINDS.filter((name) => rules[name] !== undefined);
  if (given.length > 1) yield invalid(path, 'object', `only one of ${L7_KINDS.join(', ')} may be there`);
  for (const name of ['l7proto', 'l7'] as const)
    if (rules[name] !== undefined) yield forbidden(`${path}.${name}`, 'no other protocols are read');
  for (const [i, rule] of (rules.http ?? []).entries()) yield* validateHttp(rule, `${path}.http[${i}]`);
  for (const [i, rule] of (rules.kafka ?? []).entries()) yield* validateKafka(rule, `${path}.kafka[${i}]`);
  for (const [i, name] of (rules.dns ?? []).entries()) yield* validateName(name, `${path}.dns[${i}]`);
  if (rules.dns && ports.length === 0) yield invalid(`${path}.dns`, 'list', 'needs ports: 53');
  if (ports.some(({ port = '' }) => port === '' || portNumberOf(port) === 0))
    yield invalid(path, 'object', 'needs the ports that requests come to');
  for (const { protocol = 'ANY', endPort = 0 } of ports) {
    if (!rules.dns && protocol !== 'TCP')
      yield invalid(path, 'object', `these requests come over TCP, not ${protocol}`);
    if (rules.dns && endPort > 0) yield invalid(`${path}.dns`, 'list', 'cannot be asked of a range of ports');
  }
}

export function* validatePorts(list: readonly CiliumPortRule[], path: string, isIngress: boolean): Problems {
  for (const [i, portRule] of list.entries()) {
    const at = `${path}[${i}]`;
    const { ports = [], rules } = portRule;
    for (const [field, why] of Object.entries(REFUSED_PORT_PARTS))
      if (portRule[field as 'listener'] !== undefined) yield forbidden(`${at}.${field}`, why);
    if (ports.length > MOST) yield tooMany(`${at}.ports`, ports.length, MOST);
    for (const [j, port] of ports.entries()) yield* validatePort(port, `${at}.ports[${j}]`);
    if (!rules) continue;
    yield* validateRequests(rules, ports, `${at}.rules`);
    if (isIngress && rules.dns) yield forbidden(`${at}.rules.dns`, 'may not be used for ingress');
  }
}

export function* validateIcmps(list: readonly CiliumIcmpRule[], path: string): Problems {
  for (const [i, { fields = [] }] of list.entries()) {
    const at = `${path}[${i}].fields`;
    if (fields.length > MOST) yield tooMany(at, fields.length, MOST);
    for (const [j, { family = 'IPv4', type }] of fields.entries()) {
      if (!ICMP_FAMILIES.includes(family)) yield notSupported(`${at}[${j}].family`, family, ICMP_FAMILIES);
      else if (icmpType(family, type) === undefined)
        yield invalid(
          `${at}[${j}].type`,
          type,
          `must be 0 to 255, or the name of an ICMP message of ${family}`,
        );
    }
  }
}
