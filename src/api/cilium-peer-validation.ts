/** Who a rule of Cilium's is about. */
import { overlaps, tryParseAddress, tryParseCidr } from '../lib/ip.ts';
import type {
  CiliumCidrRule,
  CiliumEgressRule,
  CiliumIngressRule,
  CiliumNameSelector,
  CiliumService,
} from './cilium-policy-types.ts';
import { validateCiliumSelector } from './cilium-selector-validation.ts';
import {
  ENTITIES,
  isDnsName,
  isDnsPattern,
  isEntity,
  NODE_SOURCES,
  PEER_FIELDS,
  POD_SOURCES,
  REFUSED_PEERS,
} from './cilium-words.ts';
import { forbidden, formatted, invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { validateLabelSelector } from './label-selector.ts';

function* validateCidr(text: string, path: string): Problems {
  if (!tryParseCidr(text) && !tryParseAddress(text))
    yield invalid(path, text, 'must be an address or a CIDR, (e.g. 10.9.8.7, 10.9.8.0/24 or 2001:db8::/64)');
}

const RANGES = ['cidr', 'cidrGroupRef', 'cidrGroupSelector'] as const;

function* validateCidrRule(rule: CiliumCidrRule, path: string): Problems {
  const { cidr, except = [], cidrGroupRef, cidrGroupSelector } = rule;
  const given = RANGES.filter((field) => rule[field] !== undefined && rule[field] !== '');
  if (given.length === 0) {
    yield required(`${path}.cidr`, 'or cidrGroupRef, or cidrGroupSelector');
    return;
  }
  if (given.length > 1) yield invalid(path, 'object', `needs one of ${given.join(' and ')}, not several`);
  if (cidrGroupRef) yield* formatted(`${path}.cidrGroupRef`, cidrGroupRef, dns1123Subdomain);
  yield* validateLabelSelector(cidrGroupSelector, `${path}.cidrGroupSelector`);
  const whole = cidr ? tryParseCidr(cidr) : undefined;
  const words = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';
  if (cidr && !whole) yield invalid(`${path}.cidr`, cidr, words);
  for (const [i, text] of except.entries()) {
    const part = tryParseCidr(text);
    if (!part) yield invalid(`${path}.except[${i}]`, text, words);
    else if (whole && !overlaps(whole, part))
      yield invalid(`${path}.except[${i}]`, text, `must be within ${cidr}`);
  }
}

export function* validateName(selector: CiliumNameSelector, path: string): Problems {
  const { matchName, matchPattern } = selector;
  if ((matchName === undefined) === (matchPattern === undefined))
    yield invalid(path, 'object', 'needs one of matchName and matchPattern');
  if (matchName !== undefined && !isDnsName(matchName))
    yield invalid(`${path}.matchName`, matchName, 'must be a DNS name of letters, digits, - and _');
  if (matchPattern !== undefined && !isDnsPattern(matchPattern))
    yield invalid(`${path}.matchPattern`, matchPattern, 'must be a DNS name of letters, digits, -, _ and *');
}

function* validateEntity(name: string, path: string): Problems {
  if (!isEntity(name)) yield notSupported(path, name, ENTITIES);
}

function* validateService({ k8sService, k8sServiceSelector }: CiliumService, path: string): Problems {
  if (!k8sService === !k8sServiceSelector)
    yield invalid(path, 'object', 'needs one of k8sService and k8sServiceSelector');
  if (k8sService && !k8sService.serviceName) yield required(`${path}.k8sService.serviceName`);
  if (!k8sServiceSelector) return;
  if (!k8sServiceSelector.selector) yield required(`${path}.k8sServiceSelector.selector`);
  yield* validateLabelSelector(k8sServiceSelector.selector, `${path}.k8sServiceSelector.selector`);
}

/** Each peer of a list, with its path. */
function* each<T>(
  list: readonly T[] | undefined,
  path: string,
  check: (item: T, path: string) => Problems,
): Problems {
  for (const [i, item] of (list ?? []).entries()) yield* check(item, `${path}[${i}]`);
}

export function* validatePeers(
  rule: CiliumIngressRule & CiliumEgressRule,
  side: 'from' | 'to',
  path: string,
): Problems {
  const given = PEER_FIELDS[side].filter((field) => (rule[field]?.length ?? 0) > 0);
  if (given.length > 1)
    yield invalid(path, 'object', `combining ${given.slice(0, 2).join(' and ')} is not supported`);
  for (const [field, why] of Object.entries(REFUSED_PEERS))
    if ((rule[field as 'toGroups']?.length ?? 0) > 0) yield forbidden(`${path}.${field}`, why);
  const names = {
    endpoints: `${side}Endpoints`,
    nodes: `${side}Nodes`,
    entities: `${side}Entities`,
    cidr: `${side}CIDR`,
    sets: `${side}CIDRSet`,
  } as const;
  yield* each(rule[names.endpoints], `${path}.${names.endpoints}`, (selector, at) =>
    validateCiliumSelector(selector, at, POD_SOURCES),
  );
  yield* each(rule[names.nodes], `${path}.${names.nodes}`, (selector, at) =>
    validateCiliumSelector(selector, at, NODE_SOURCES),
  );
  yield* each(rule[names.entities], `${path}.${names.entities}`, validateEntity);
  yield* each(rule[names.cidr], `${path}.${names.cidr}`, validateCidr);
  yield* each(rule[names.sets], `${path}.${names.sets}`, validateCidrRule);
  yield* each(rule.toServices, `${path}.toServices`, validateService);
  yield* each(rule.toFQDNs, `${path}.toFQDNs`, validateName);
}
