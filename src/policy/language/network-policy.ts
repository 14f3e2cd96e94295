/**
 * Lowers a NetworkPolicy (networking.k8s.io/v1) to the model. What cannot be read matches nothing, so that a
 * mistake never allows more than was written, and is reported with its path.
 */
import type { NetworkPolicy } from '../../api/types.ts';
import { formatCidr, overlaps } from '../../lib/ip.ts';
import type { Direction, PolicyRef } from '../decision.ts';
import { type Policy, type PortMatch, policyOf, type Rule } from '../model.ts';
import { blockPeer, type Peer, type PodPeer, podPeer } from '../peers.ts';
import { everything, type Selector } from '../selector.ts';
import { type Stage, stageIn } from '../stage.ts';
import type { PolicyProblem } from '../tables.ts';
import { PRIORITIES, TIERS } from '../tiers.ts';
import type { PortProtocol } from '../world.ts';
import { isPort, type Report, readCidr, readProtocol, readSelector } from './read.ts';

type Spec = NonNullable<NetworkPolicy['spec']>;
type IngressRule = NonNullable<Spec['ingress']>[number];
type EgressRule = NonNullable<Spec['egress']>[number];
type PeerInput = NonNullable<IngressRule['from']>[number];
type PortInput = NonNullable<IngressRule['ports']>[number];
type BlockInput = NonNullable<PeerInput['ipBlock']>;

export function lowerNetworkPolicy(object: NetworkPolicy, inherited?: Stage): Policy {
  const ref: PolicyRef = {
    kind: 'NetworkPolicy',
    namespace: object.metadata.namespace ?? 'default',
    name: object.metadata.name,
  };
  const problems: PolicyProblem[] = [];
  const report: Report = (path, message) => problems.push({ policy: ref, path, message });
  const spec: Spec = object.spec ?? {};
  const isolates = isolation(spec);
  const stage = stageIn(object.metadata.labels) ?? inherited ?? 'enforce';
  const subject = readSelector(spec.podSelector ?? {}, 'spec.podSelector', report);
  if (!subject)
    return policyOf({
      ref,
      stage,
      subject: noPods(ref.namespace),
      tier: TIERS.default,
      isolates: { ingress: false, egress: false },
      rules: [],
      problems,
    });

  const rules: Rule[] = [];
  if (isolates.ingress)
    for (const [index, rule] of (spec.ingress ?? []).entries())
      rules.push(lowerRule(ref, 'ingress', index, rule.from, rule.ports, report));
  if (isolates.egress)
    for (const [index, rule] of (spec.egress ?? []).entries())
      rules.push(lowerRule(ref, 'egress', index, rule.to, rule.ports, report));
  return policyOf({
    ref,
    stage,
    subject: podsIn(ref.namespace, subject),
    tier: TIERS.default,
    isolates,
    isolatesWithout: isolation({ ...spec, egress: [] }),
    rules,
    problems,
  });
}

/** Absent policyTypes: always Ingress, and Egress if there is an egress rule. */
function isolation(spec: Spec): Record<Direction, boolean> {
  const types: readonly string[] = spec.policyTypes ?? [];
  if (types.length === 0) return { ingress: true, egress: (spec.egress ?? []).length > 0 };
  return { ingress: types.includes('Ingress'), egress: types.includes('Egress') };
}

function lowerRule(
  policy: PolicyRef,
  direction: Direction,
  index: number,
  peers: EgressRule['to'],
  ports: EgressRule['ports'],
  report: Report,
): Rule {
  const path = `spec.${direction}[${index}]`;
  const peersPath = `${path}.${direction === 'ingress' ? 'from' : 'to'}`;
  return {
    ref: { ...policy, direction, index, path },
    tier: TIERS.default,
    priority: PRIORITIES.unordered,
    verdict: 'allow',
    peers: readAll(peers, (peer, i) => readPeer(policy.namespace, peer, `${peersPath}[${i}]`, report)),
    ports: readAll(ports, (port, i) => readPort(port, `${path}.ports[${i}]`, report)),
  };
}

/** A missing or empty list means everything; a list of which nothing could be read means nothing. */
function readAll<I, O>(
  list: readonly I[] | null | undefined,
  read: (item: I, index: number) => O | undefined,
): O[] | null {
  if (!list || list.length === 0) return null;
  return list.map(read).filter((item) => item !== undefined);
}

function readPeer(namespace: string, peer: PeerInput, path: string, report: Report): Peer | undefined {
  const { ipBlock, namespaceSelector, podSelector } = peer;
  if (ipBlock) {
    if (!namespaceSelector && !podSelector) return readBlock(ipBlock, `${path}.ipBlock`, report);
    report(path, 'ipBlock cannot be combined with podSelector or namespaceSelector');
    return undefined;
  }
  if (!namespaceSelector && !podSelector) {
    report(path, 'is empty; expected podSelector, namespaceSelector or ipBlock');
    return undefined;
  }
  const pods = podSelector ? readSelector(podSelector, `${path}.podSelector`, report) : everything;
  if (!pods) return undefined;
  if (!namespaceSelector) return podsIn(namespace, pods);
  const selector = readSelector(namespaceSelector, `${path}.namespaceSelector`, report);
  return selector && podPeer({ selector }, pods);
}

function readBlock(block: BlockInput, path: string, report: Report): Peer | undefined {
  const cidr = readCidr(block.cidr, `${path}.cidr`, report);
  const except = (block.except ?? []).map((text, i) => readCidr(text, `${path}.except[${i}]`, report));
  const known = except.filter((range) => range !== undefined);
  if (!cidr || known.length < except.length) return undefined;
  const within = known.filter((range) => overlaps(range, cidr));
  if (within.every((range) => range.length > cidr.length)) return blockPeer(cidr, within);
  report(`${path}.except`, `leaves nothing of ${formatCidr(cidr)}; each must be strictly within it`);
  return undefined;
}

function readPort(input: PortInput, path: string, report: Report): PortMatch | undefined {
  const protocol = readProtocol(input.protocol, path, report);
  if (!protocol) return undefined;
  const { port, endPort } = input;
  if (port === undefined || port === null) {
    if (endPort === undefined || endPort === null) return { protocol, first: 0, last: 65535 };
    report(`${path}.endPort`, 'needs port, as the first of the range');
    return undefined;
  }
  if (typeof port === 'string') return readPortName(protocol, port, endPort, path, report);
  if (!isPort(port)) {
    report(`${path}.port`, `${JSON.stringify(port)} is not a port (expected 1 to 65535, or a name)`);
    return undefined;
  }
  const last = endPort ?? port;
  if (isPort(last) && last >= port) return { protocol, first: port, last };
  report(`${path}.endPort`, `${JSON.stringify(last)} is not a port from ${port} to 65535`);
  return undefined;
}

function readPortName(
  protocol: PortProtocol,
  name: string,
  endPort: number | null | undefined,
  path: string,
  report: Report,
): PortMatch | undefined {
  if (endPort !== undefined && endPort !== null) {
    report(`${path}.endPort`, `needs a numeric port, but port is the name "${name}"`);
    return undefined;
  }
  // RFC 6335 section 5.1: a service name has a letter. A number in quotes is a mistake, not a name.
  if (/[a-z]/i.test(name)) return { protocol, name };
  report(`${path}.port`, `"${name}" is neither a number nor a port name`);
  return undefined;
}

const podsIn = (namespace: string, pods: Selector): PodPeer => podPeer({ name: namespace }, pods);

/** Its rules and isolation are gone as well: the subject only has to be something. */
const noPods = (namespace: string): PodPeer => podsIn(namespace, everything);
