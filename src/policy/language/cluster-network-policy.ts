/** Lowers a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) to the model. */
import type {
  ClusterNetworkPolicy,
  ClusterNetworkPolicyProtocol,
  ClusterNetworkPolicyRule,
} from '../../api/types.ts';
import type { Policy, PortMatch } from '../model.ts';
import { TIERS } from '../tiers.ts';
import type { PortProtocol } from '../world.ts';
import { forNobody, lowerClusterPolicy, readPriority } from './cluster-rules.ts';
import { isPort, portsNamed, type Report } from './read.ts';

const ACTIONS = { Accept: 'allow', Deny: 'deny', Pass: 'pass' } as const;

const TIER_NUMBERS: Readonly<Record<string, number>> = { Admin: TIERS.admin, Baseline: TIERS.baseline };

/** A policy of no known tier has no place among the others, and is for nobody. */
export function lowerClusterNetworkPolicy(object: ClusterNetworkPolicy): Policy {
  const name = object.spec?.tier ?? '';
  const tier = Object.hasOwn(TIER_NUMBERS, name) ? TIER_NUMBERS[name] : undefined;
  const policy = lowerClusterPolicy(object, {
    kind: 'ClusterNetworkPolicy',
    tier: tier ?? TIERS.admin,
    priority: readPriority(object.spec?.priority),
    actions: ACTIONS,
    readPorts,
  });
  return tier === undefined
    ? forNobody(policy, 'spec.tier', `"${name}" is neither Admin nor Baseline`)
    : policy;
}

function readPorts(
  { protocols }: ClusterNetworkPolicyRule,
  path: string,
  report: Report,
): PortMatch[] | null | undefined {
  if (!protocols) return null;
  if (protocols.length === 0) report(`${path}.protocols`, 'needs at least one protocol');
  const read = protocols.map((each, i) => readProtocol(each, `${path}.protocols[${i}]`, report));
  const known = read.filter((each) => each !== undefined);
  return known.length < read.length || read.length === 0 ? undefined : known.flat();
}

function readProtocol(
  input: ClusterNetworkPolicyProtocol,
  path: string,
  report: Report,
): PortMatch[] | undefined {
  const [name = '', ...more] = Object.keys(input);
  if (more.length === 0) {
    if (name === 'tcp') return readPort('TCP', input.tcp, `${path}.tcp`, report);
    if (name === 'udp') return readPort('UDP', input.udp, `${path}.udp`, report);
    if (name === 'sctp') return readPort('SCTP', input.sctp, `${path}.sctp`, report);
    if (name === 'destinationNamedPort')
      return portsNamed(input.destinationNamedPort, `${path}.destinationNamedPort`, report);
  }
  report(path, 'needs one of tcp, udp, sctp and destinationNamedPort');
  return undefined;
}

function readPort(
  protocol: PortProtocol,
  input: ClusterNetworkPolicyProtocol['tcp'],
  path: string,
  report: Report,
): PortMatch[] | undefined {
  const port = input?.destinationPort;
  const isOne = port !== undefined && Object.keys(input ?? {}).length === 1 && Object.keys(port).length === 1;
  const first = port?.range ? port.range.start : port?.number;
  const last = port?.range ? port.range.end : port?.number;
  if (isOne && isPort(first) && isPort(last) && first <= last) return [{ protocol, first, last }];
  report(`${path}.destinationPort`, 'needs a number, or a range of start and end, from 1 to 65535');
  return undefined;
}
