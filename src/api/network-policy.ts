import type { INetworkPolicyPeer } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicyPeer';
import type { INetworkPolicyPort } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicyPort';
import type { IIPBlock } from 'kubernetes-models/networking.k8s.io/v1/IPBlock';
import { type Cidr, contains, firstOf, formatCidr, tryParseCidr } from '../lib/ip.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { duplicate, forbidden, formatted, invalid, oneOf, type Problems, required } from './field-error.ts';
import { dns1123Subdomain, portName, portNumber } from './formats.ts';
import { NETWORK_POLICY } from './kinds.ts';
import { validateLabelSelector } from './label-selector.ts';
import { selectorText } from './selector.ts';
import type { NetworkPolicy } from './types.ts';

const PROTOCOLS = ['TCP', 'UDP', 'SCTP'];
const CIDR_WORDS = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';

function* validatePort(port: INetworkPolicyPort, path: string): Problems {
  yield* oneOf(`${path}.protocol`, port.protocol, PROTOCOLS);
  if (typeof port.port === 'number') {
    for (const words of portNumber(port.port)) yield invalid(`${path}.port`, port.port, words);
    if (port.endPort !== undefined) {
      if (port.endPort < port.port)
        yield invalid(`${path}.endPort`, port.endPort, 'must be greater than or equal to `port`');
      for (const words of portNumber(port.endPort)) yield invalid(`${path}.endPort`, port.endPort, words);
    }
  } else if (port.endPort !== undefined)
    yield invalid(
      `${path}.endPort`,
      port.endPort,
      'may not be specified when `port` is not specified or non-numeric',
    );
  if (typeof port.port === 'string') yield* formatted(`${path}.port`, port.port, portName);
}

/** Inside and smaller: an exception equal to the whole block would leave nothing. */
function isStrictPart(part: Cidr, whole: Cidr): boolean {
  return part.family === whole.family && part.length > whole.length && contains(whole, firstOf(part));
}

function* validateBlock(block: IIPBlock, path: string): Problems {
  if (!block.cidr) {
    yield required(`${path}.cidr`);
    return;
  }
  const whole = tryParseCidr(block.cidr);
  if (!whole) {
    yield invalid(`${path}.cidr`, block.cidr, CIDR_WORDS);
    return;
  }
  for (const [i, text] of (block.except ?? []).entries()) {
    const part = tryParseCidr(text);
    if (!part) yield invalid(`${path}.except[${i}]`, text, CIDR_WORDS);
    else if (!isStrictPart(part, whole))
      yield invalid(
        `${path}.except[${i}]`,
        text,
        `must be a strict subset of \`cidr\` (${formatCidr(whole)})`,
      );
  }
}

function* validatePeer(peer: INetworkPolicyPeer, path: string): Problems {
  yield* validateLabelSelector(peer.podSelector, `${path}.podSelector`);
  yield* validateLabelSelector(peer.namespaceSelector, `${path}.namespaceSelector`);
  if (peer.ipBlock) {
    yield* validateBlock(peer.ipBlock, `${path}.ipBlock`);
    if (peer.podSelector || peer.namespaceSelector)
      yield forbidden(path, 'may not specify both ipBlock and another peer');
  }
  if (!peer.podSelector && !peer.namespaceSelector && !peer.ipBlock)
    yield required(path, 'must specify a peer');
}

function* validateRules(
  rules: readonly { ports?: INetworkPolicyPort[]; peers?: INetworkPolicyPeer[] }[],
  path: string,
  side: 'from' | 'to',
): Problems {
  for (const [i, rule] of rules.entries()) {
    for (const [j, port] of (rule.ports ?? []).entries())
      yield* validatePort(port, `${path}[${i}].ports[${j}]`);
    for (const [j, peer] of (rule.peers ?? []).entries())
      yield* validatePeer(peer, `${path}[${i}].${side}[${j}]`);
  }
}

function* validateTypes(types: readonly string[]): Problems {
  if (types.length > 2) {
    yield invalid('spec.policyTypes', types, 'may not specify more than two policyTypes');
    return;
  }
  for (const [i, type] of types.entries()) {
    yield* oneOf(`spec.policyTypes[${i}]`, type, ['Ingress', 'Egress']);
    if (types.indexOf(type) < i) yield duplicate(`spec.policyTypes[${i}]`, type);
  }
}

function* validate(policy: NetworkPolicy): Problems {
  const spec = policy.spec;
  if (!spec) return;
  yield* validateLabelSelector(spec.podSelector, 'spec.podSelector');
  const ingress = (spec.ingress ?? []).map((rule) => ({ ports: rule?.ports, peers: rule?.from }));
  const egress = (spec.egress ?? []).map((rule) => ({ ports: rule?.ports, peers: rule?.to }));
  yield* validateRules(ingress, 'spec.ingress', 'from');
  yield* validateRules(egress, 'spec.egress', 'to');
  yield* validateTypes(spec.policyTypes ?? []);
}

export const networkPolicy = define<NetworkPolicy>({
  kind: NETWORK_POLICY,
  singular: 'networkpolicy',
  shortNames: ['netpol'],
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Pod-Selector', 'The pods it applies to.', (policy) => selectorText(policy.spec?.podSelector)),
    ageColumn,
  ],
  setDefaults(policy) {
    // An absent spec selects every pod of the namespace and isolates its ingress, as in Kubernetes.
    policy.spec ??= { podSelector: {} };
    const { spec } = policy;
    spec.podSelector ??= {};
    if (!spec.policyTypes || spec.policyTypes.length === 0)
      spec.policyTypes = spec.egress && spec.egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
    for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])])
      for (const port of rule?.ports ?? []) port.protocol ??= 'TCP';
  },
  validate,
});
