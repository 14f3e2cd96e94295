/** AuthorizationPolicy, `security.istio.io/v1`, checked as Istio checks it. */
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { forbidden, invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import type {
  AuthorizationPolicy,
  AuthorizationRule,
  IstioCondition,
  IstioOperation,
  IstioSource,
} from './istio-types.ts';
import {
  ACTIONS,
  isPathTemplate,
  readConditionKey,
  readIpBlock,
  readPathTemplate,
  readPortText,
  readServiceAccount,
} from './istio-words.ts';
import { AUTHORIZATION_POLICY } from './kinds.ts';
import { validateWorkloadSelector } from './workload-selector.ts';

/** What is wrong with one value of a list. */
type Complaint = (value: string) => string | undefined;

const anyText: Complaint = () => undefined;
const ipBlock: Complaint = (value) =>
  readIpBlock(value) ? undefined : 'must be an IP address or a CIDR (e.g. 203.0.113.4 or 203.0.113.0/24)';
const port: Complaint = (value) =>
  readPortText(value) === undefined ? 'must be a port from 0 to 65535' : undefined;
const account: Complaint = (value) =>
  readServiceAccount(value, '')
    ? undefined
    : 'must be the name of a service account or namespace/name, without *';
const path: Complaint = (value) => {
  const read = isPathTemplate(value) ? readPathTemplate(value) : [];
  return typeof read === 'string' ? read : undefined;
};

const SOURCE_LISTS: Readonly<Record<keyof IstioSource, Complaint>> = {
  principals: anyText,
  notPrincipals: anyText,
  requestPrincipals: anyText,
  notRequestPrincipals: anyText,
  namespaces: anyText,
  notNamespaces: anyText,
  serviceAccounts: account,
  notServiceAccounts: account,
  ipBlocks: ipBlock,
  notIpBlocks: ipBlock,
  remoteIpBlocks: ipBlock,
  notRemoteIpBlocks: ipBlock,
};

const OPERATION_LISTS: Readonly<Record<keyof IstioOperation, Complaint>> = {
  hosts: anyText,
  notHosts: anyText,
  ports: port,
  notPorts: port,
  methods: anyText,
  notMethods: anyText,
  paths: path,
  notPaths: path,
};

const VALUES: Readonly<Record<string, Complaint>> = {
  'source.ip': ipBlock,
  'remote.ip': ipBlock,
  'destination.ip': ipBlock,
  'destination.port': port,
  'source.serviceAccount': account,
};

function* validateValues(list: readonly string[] | undefined, at: string, complaint: Complaint): Problems {
  for (const [i, value] of (list ?? []).entries()) {
    const words = value === '' ? 'must not be empty' : complaint(value);
    if (words !== undefined) yield invalid(`${at}[${i}]`, value, words);
  }
}

function* validateLists<T extends object>(
  value: T | undefined,
  at: string,
  lists: Readonly<Record<keyof T, Complaint>>,
): Problems {
  if (!value) {
    yield required(at);
    return;
  }
  const given = Object.entries(value) as [keyof T & string, string[] | undefined][];
  if (given.every(([, list]) => (list ?? []).length === 0)) yield required(at, 'must not be empty');
  for (const [name, list] of given) yield* validateValues(list, `${at}.${name}`, lists[name]);
}

function* validateSource(source: IstioSource | undefined, at: string): Problems {
  yield* validateLists(source, at, SOURCE_LISTS);
  const has = (...names: (keyof IstioSource)[]) => names.some((name) => (source?.[name] ?? []).length > 0);
  if (
    has('serviceAccounts', 'notServiceAccounts') &&
    has('principals', 'notPrincipals', 'namespaces', 'notNamespaces')
  )
    yield forbidden(at, 'cannot set serviceAccounts with namespaces or principals');
}

function* validateCondition({ key = '', values, notValues }: IstioCondition, at: string): Problems {
  if (key === '') {
    yield required(`${at}.key`);
    return;
  }
  const read = readConditionKey(key);
  if (typeof read === 'string') {
    yield invalid(`${at}.key`, key, read);
    return;
  }
  if ((values ?? []).length + (notValues ?? []).length === 0)
    yield required(`${at}.values`, 'at least one of values and notValues');
  const complaint = VALUES[read.attribute] ?? anyText;
  yield* validateValues(values, `${at}.values`, complaint);
  yield* validateValues(notValues, `${at}.notValues`, complaint);
}

/** What an authorizer outside cannot be asked about: Istio evaluates such rules before it knows. */
function* validateCustom({ from, when }: AuthorizationRule, at: string): Problems {
  const words = 'is not supported with action CUSTOM';
  const known: readonly string[] = ['ipBlocks', 'notIpBlocks', 'remoteIpBlocks', 'notRemoteIpBlocks'];
  for (const [i, { source }] of (from ?? []).entries())
    for (const name of Object.keys(source ?? {}).filter((each) => !known.includes(each)))
      yield forbidden(`${at}.from[${i}].source.${name}`, words);
  for (const [i, { key = '' }] of (when ?? []).entries())
    if (/^(request\.auth\.|source\.(namespace|principal|serviceAccount)$)/.test(key))
      yield forbidden(`${at}.when[${i}].key`, `${key} ${words}`);
}

function* validateRule(rule: AuthorizationRule, at: string): Problems {
  for (const name of ['from', 'to'] as const)
    if (rule[name]?.length === 0) yield required(`${at}.${name}`, 'must not be empty; leave it out for any');
  for (const [i, { source }] of (rule.from ?? []).entries())
    yield* validateSource(source, `${at}.from[${i}].source`);
  for (const [i, { operation }] of (rule.to ?? []).entries())
    yield* validateLists(operation, `${at}.to[${i}].operation`, OPERATION_LISTS);
  for (const [i, condition] of (rule.when ?? []).entries())
    yield* validateCondition(condition, `${at}.when[${i}]`);
}

const NO_TARGETS = 'there is no gateway and no waypoint yet that a policy could be attached to';

function* validate({ spec = {} }: AuthorizationPolicy): Problems {
  const { selector, targetRef, targetRefs, action = 'ALLOW', provider, rules } = spec;
  yield* validateWorkloadSelector(selector, 'spec.selector');
  if (targetRef) yield forbidden('spec.targetRef', NO_TARGETS);
  if ((targetRefs ?? []).length > 0) yield forbidden('spec.targetRefs', NO_TARGETS);
  if (!ACTIONS.some((known) => known === action)) yield notSupported('spec.action', action, ACTIONS);
  if (action === 'CUSTOM' && (provider?.name ?? '') === '') yield required('spec.provider.name');
  if (action !== 'CUSTOM' && provider) yield forbidden('spec.provider', 'is for action CUSTOM only');
  if ((action === 'CUSTOM' || action === 'DENY') && (rules ?? []).length === 0)
    yield required('spec.rules', `without rules action ${action} never applies; {} is a rule for everything`);
  for (const [i, rule] of (rules ?? []).entries()) {
    yield* validateRule(rule, `spec.rules[${i}]`);
    if (action === 'CUSTOM') yield* validateCustom(rule, `spec.rules[${i}]`);
  }
}

/** Attributes of a connection that is not HTTP. */
const OF_CONNECTIONS = new Set<string>([
  ...Object.keys(SOURCE_LISTS).filter((name) => !/requestPrincipals/i.test(name)),
  'ports',
  'notPorts',
]);

/** Rules that say nothing of connections deny all of those that are not HTTP. */
function* deniesConnections({ spec = {} }: AuthorizationPolicy): Generator<string> {
  if (spec.action !== 'DENY') return;
  for (const [i, { from = [], to = [] }] of (spec.rules ?? []).entries()) {
    const ofConnections = (values: readonly (object | undefined)[]) =>
      values.some((value) => Object.keys(value ?? {}).some((name) => OF_CONNECTIONS.has(name)));
    const sources = ofConnections(from.map(({ source }) => source));
    const operations = ofConnections(to.map(({ operation }) => operation));
    if ((from.length > 0 && to.length === 0 && !sources) || (to.length > 0 && !operations))
      yield `spec.rules[${i}] denies every connection that is not HTTP: it has HTTP attributes only; name its ports`;
  }
}

export const authorizationPolicy = define<AuthorizationPolicy>({
  kind: AUTHORIZATION_POLICY,
  singular: 'authorizationpolicy',
  shortNames: ['ap'],
  categories: ['istio-io', 'security-istio-io'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Action', 'What is done with requests that match.', ({ spec }) => spec?.action || 'ALLOW'),
    ageColumn,
  ],
  validate,
  *warnings(object) {
    yield 'AuthorizationPolicy is stored and not enforced yet: no proxy asks it; heddle policy answers by it';
    yield* deniesConnections(object);
  },
});
