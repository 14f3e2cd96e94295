/** AdminNetworkPolicy and BaselineAdminNetworkPolicy, `policy.networking.k8s.io/v1alpha1`. */
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
import { ADMIN_NETWORK_POLICY, BASELINE_ADMIN_NETWORK_POLICY } from './kinds.ts';
import type {
  AdminNetworkPolicy,
  AdminPolicyPort,
  AdminPolicyRule,
  BaselineAdminNetworkPolicy,
} from './types.ts';

const PROTOCOLS = ['TCP', 'UDP', 'SCTP'];
const MOST = 100;

function* validateProtocol(protocol: string | undefined, path: string): Problems {
  if (protocol !== undefined && !PROTOCOLS.includes(protocol))
    yield notSupported(`${path}.protocol`, protocol, PROTOCOLS);
}

function* validatePort(port: AdminPolicyPort, path: string): Problems {
  yield* exactlyOne(port, path, ['portNumber', 'portRange', 'namedPort']);
  const { portNumber, portRange } = port;
  if (portNumber) {
    yield* validateProtocol(portNumber.protocol, `${path}.portNumber`);
    yield* within(`${path}.portNumber.port`, portNumber.port, 1, 65_535);
  }
  if (!portRange) return;
  const { protocol, start, end } = portRange;
  yield* validateProtocol(protocol, `${path}.portRange`);
  yield* within(`${path}.portRange.start`, start, 1, 65_535);
  yield* within(`${path}.portRange.end`, end, 1, 65_535);
  if (start >= end) yield invalid(`${path}.portRange`, 'object', 'Start port must be less than End port');
}

function* validatePorts({ ports }: AdminPolicyRule, path: string): Problems {
  if (!ports) return;
  yield* ofLength(`${path}.ports`, ports, MOST);
  for (const [i, port] of ports.entries()) yield* validatePort(port, `${path}.ports[${i}]`);
}

const limits = (actions: readonly string[]): Limits<AdminPolicyRule> => ({
  actions,
  rules: MOST,
  peers: MOST,
  needsNamespaceSelector: true,
  cidr: (range) =>
    range.includes(':') === range.includes('.')
      ? 'CIDR must be either an IPv4 or IPv6 address. IPv4 address embedded in IPv6 addresses are not supported'
      : undefined,
  ports: validatePorts,
  usesPortNames: ({ ports }) => (ports ?? []).some(({ namedPort }) => namedPort !== undefined),
});

const ADMIN = limits(['Allow', 'Deny', 'Pass']);
const BASELINE = limits(['Allow', 'Deny']);

function setDefaults({ spec }: AdminNetworkPolicy | BaselineAdminNetworkPolicy): void {
  for (const { ports } of [...(spec?.ingress ?? []), ...(spec?.egress ?? [])])
    for (const { portNumber, portRange } of ports ?? []) {
      if (portNumber) portNumber.protocol ??= 'TCP';
      if (portRange) portRange.protocol ??= 'TCP';
    }
}

export const adminNetworkPolicy = define<AdminNetworkPolicy>({
  kind: ADMIN_NETWORK_POLICY,
  singular: 'adminnetworkpolicy',
  shortNames: ['anp'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Priority', 'The lower decides first.', ({ spec }) => String(spec?.priority ?? '')),
    ageColumn,
  ],
  setDefaults,
  *validate({ spec }) {
    if (!spec) {
      yield required('spec');
      return;
    }
    yield* within('spec.priority', spec.priority, 0, 1000);
    yield* validateSubject(spec.subject, 'spec.subject', ADMIN);
    yield* validateRules(spec, ADMIN);
  },
});

export const baselineAdminNetworkPolicy = define<BaselineAdminNetworkPolicy>({
  kind: BASELINE_ADMIN_NETWORK_POLICY,
  singular: 'baselineadminnetworkpolicy',
  shortNames: ['banp'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [nameColumn, ageColumn],
  setDefaults,
  *validate({ metadata, spec }) {
    if (metadata.name !== 'default')
      yield invalid(
        'metadata.name',
        metadata.name,
        'Only one baseline admin network policy with metadata.name="default" can be created in the cluster',
      );
    if (!spec) {
      yield required('spec');
      return;
    }
    yield* validateSubject(spec.subject, 'spec.subject', BASELINE);
    yield* validateRules(spec, BASELINE);
  },
});
