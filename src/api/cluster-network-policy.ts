/** ClusterNetworkPolicy, `policy.networking.k8s.io/v1alpha2`. */
import { tryParseAddress, tryParseCidr } from '../lib/ip.ts';
import {
  exactlyOne,
  type Limits,
  ofLength,
  validateRules,
  validateSubject,
  within,
} from './cluster-policy-validation.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { CLUSTER_NETWORK_POLICY } from './kinds.ts';
import type {
  ClusterNetworkPolicy,
  ClusterNetworkPolicyProtocol,
  ClusterNetworkPolicyRule,
  PortOrRange,
} from './types.ts';

const MOST = 25;
const TIERS = ['Admin', 'Baseline'];
const NUMBERED = ['tcp', 'udp', 'sctp'] as const;

function* validatePort(port: PortOrRange, path: string): Problems {
  yield* exactlyOne(port, path, ['number', 'range']);
  const { number, range } = port;
  if (number !== undefined) yield* within(`${path}.number`, number, 1, 65_535);
  if (!range) return;
  yield* within(`${path}.range.start`, range.start, 1, 65_535);
  yield* within(`${path}.range.end`, range.end, 1, 65_535);
  if (range.start >= range.end)
    yield invalid(`${path}.range`, 'object', 'Start port must be less than End port');
}

function* validateProtocol(protocol: ClusterNetworkPolicyProtocol, path: string): Problems {
  yield* exactlyOne(protocol, path, [...NUMBERED, 'destinationNamedPort']);
  for (const name of NUMBERED) {
    const attributes = protocol[name];
    if (!attributes) continue;
    yield* exactlyOne(attributes, `${path}.${name}`, ['destinationPort']);
    if (attributes.destinationPort)
      yield* validatePort(attributes.destinationPort, `${path}.${name}.destinationPort`);
  }
}

const LIMITS: Limits<ClusterNetworkPolicyRule> = {
  actions: ['Accept', 'Deny', 'Pass'],
  rules: MOST,
  peers: MOST,
  needsNamespaceSelector: false,
  /** `cidr(self) == cidr(self).masked()` */
  cidr(range) {
    const [cidr, address] = [tryParseCidr(range), tryParseAddress(range.slice(0, range.indexOf('/')))];
    return cidr?.value === address?.value ? undefined : 'Invalid CIDR format provided';
  },
  *ports({ protocols }, path) {
    if (!protocols) return;
    yield* ofLength(`${path}.protocols`, protocols, MOST);
    for (const [i, protocol] of protocols.entries())
      yield* validateProtocol(protocol, `${path}.protocols[${i}]`);
  },
  usesPortNames: ({ protocols }) =>
    (protocols ?? []).some(({ destinationNamedPort }) => destinationNamedPort !== undefined),
};

export const clusterNetworkPolicy = define<ClusterNetworkPolicy>({
  kind: CLUSTER_NETWORK_POLICY,
  singular: 'clusternetworkpolicy',
  shortNames: ['cnp'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text(
      'Tier',
      'Before NetworkPolicies (Admin), or behind them (Baseline).',
      ({ spec }) => spec?.tier ?? '',
    ),
    text('Priority', 'Within the tier the lower decides first.', ({ spec }) => String(spec?.priority ?? '')),
    ageColumn,
  ],
  *validate({ spec }) {
    if (!spec) {
      yield required('spec');
      return;
    }
    if (spec.tier === undefined || spec.tier === '') yield required('spec.tier');
    else if (!TIERS.includes(spec.tier)) yield notSupported('spec.tier', spec.tier, TIERS);
    yield* within('spec.priority', spec.priority, 0, 1000);
    yield* validateSubject(spec.subject, 'spec.subject', LIMITS);
    yield* validateRules(spec, LIMITS);
  },
});
