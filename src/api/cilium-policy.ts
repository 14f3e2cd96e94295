/** CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, `cilium.io/v2`. */
import { validatePeers } from './cilium-peer-validation.ts';
import type {
  CiliumClusterwideNetworkPolicy,
  CiliumEgressRule,
  CiliumIngressRule,
  CiliumNetworkPolicy,
  CiliumRule,
} from './cilium-policy-types.ts';
import { validateIcmps, validatePorts } from './cilium-port-validation.ts';
import { validateCiliumSelector } from './cilium-selector-validation.ts';
import { AUTHENTICATION_MODES, POD_SOURCES, type Section, SECTIONS } from './cilium-words.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { forbidden, invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { CILIUM_CLUSTERWIDE_NETWORK_POLICY, CILIUM_NETWORK_POLICY } from './kinds.ts';

type Policy = CiliumNetworkPolicy | CiliumClusterwideNetworkPolicy;

const MAX_LOG = 32;

function* validateRule(rule: CiliumIngressRule & CiliumEgressRule, section: Section, path: string): Problems {
  const isIngress = section.startsWith('ingress');
  yield* validatePeers(rule, isIngress ? 'from' : 'to', path);
  const { toPorts = [], icmps = [], authentication } = rule;
  if (toPorts.length > 0 && icmps.length > 0)
    yield forbidden(`${path}.icmps`, 'may not be used with toPorts: write another rule');
  yield* validatePorts(toPorts, `${path}.toPorts`, isIngress);
  yield* validateIcmps(icmps, `${path}.icmps`);
  if (authentication && !AUTHENTICATION_MODES.includes(authentication.mode))
    yield notSupported(`${path}.authentication.mode`, authentication.mode, AUTHENTICATION_MODES);
}

function* validateSubject({ endpointSelector, nodeSelector }: CiliumRule, path: string): Problems {
  if (nodeSelector) yield forbidden(`${path}.nodeSelector`, 'policies for nodes are not enforced yet');
  if (nodeSelector && endpointSelector)
    yield invalid(path, 'object', 'only one of endpointSelector and nodeSelector may be there');
  if (!nodeSelector && !endpointSelector)
    yield required(`${path}.endpointSelector`, '{} is every pod that the policy is for');
  yield* validateCiliumSelector(endpointSelector, `${path}.endpointSelector`, POD_SOURCES);
}

function* validateSpec(spec: CiliumRule, path: string): Problems {
  yield* validateSubject(spec, path);
  if (SECTIONS.every((section) => (spec[section]?.length ?? 0) === 0))
    yield required(
      path,
      `needs a rule in one of ${SECTIONS.join(', ')}: without one it has no effect ([{}] denies all of a direction)`,
    );
  for (const section of SECTIONS)
    for (const [i, rule] of (spec[section] ?? []).entries())
      yield* validateRule(rule, section, `${path}.${section}[${i}]`);
  const words = spec.log?.value;
  if (words !== undefined && (Array.from(words).length > MAX_LOG || /\p{C}/u.test(words)))
    yield invalid(`${path}.log.value`, words, `must be at most ${MAX_LOG} printable characters`);
}

function* validate({ spec, specs }: Policy): Problems {
  if (!spec && (specs ?? []).length === 0) yield required('spec', 'or specs');
  if (spec) yield* validateSpec(spec, 'spec');
  for (const [i, each] of (specs ?? []).entries()) yield* validateSpec(each, `specs[${i}]`);
}

/** As the CRD: an ICMP message is of IPv4 unless it says otherwise. */
function setDefaults({ spec, specs }: Policy): void {
  const bodies = [...(spec ? [spec] : []), ...(specs ?? [])];
  const rules = bodies.flatMap((body) => SECTIONS.flatMap((section) => body[section] ?? []));
  const fields = rules.flatMap(({ icmps }) => (icmps ?? []).flatMap((icmp) => icmp.fields ?? []));
  for (const field of fields) field.family ??= 'IPv4';
}

const columns = [
  nameColumn,
  ageColumn,
  text<Policy>(
    'Valid',
    'Whether it can be enforced, as far as anybody has said.',
    ({ status }) => status?.conditions?.find(({ type }) => type === 'Valid')?.status ?? '',
  ),
];

const shared = { hasStatus: true, name: dns1123Subdomain, categories: ['cilium', 'ciliumpolicy'], columns };

export const ciliumNetworkPolicy = define<CiliumNetworkPolicy>({
  ...shared,
  kind: CILIUM_NETWORK_POLICY,
  singular: 'ciliumnetworkpolicy',
  shortNames: ['cnp', 'ciliumnp'],
  setDefaults,
  validate,
});

export const ciliumClusterwideNetworkPolicy = define<CiliumClusterwideNetworkPolicy>({
  ...shared,
  kind: CILIUM_CLUSTERWIDE_NETWORK_POLICY,
  singular: 'ciliumclusterwidenetworkpolicy',
  shortNames: ['ccnp'],
  setDefaults,
  validate,
});
