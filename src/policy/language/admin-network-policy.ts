/** Lowers AdminNetworkPolicy and BaselineAdminNetworkPolicy (policy.networking.k8s.io/v1alpha1) to the model. */
import type {
  AdminNetworkPolicy,
  AdminPolicyPort,
  AdminPolicyRule,
  BaselineAdminNetworkPolicy,
} from '../../api/types.ts';
import type { Policy, PortMatch } from '../model.ts';
import { BASELINE_PRIORITY, TIERS } from '../tiers.ts';
import type { PortProtocol } from '../world.ts';
import { forNobody, lowerClusterPolicy, readPriority } from './cluster-rules.ts';
import { isPort, portsNamed, type Report, readProtocol } from './read.ts';

const BASELINE_ACTIONS = { Allow: 'allow', Deny: 'deny' } as const;
const ADMIN_ACTIONS = { ...BASELINE_ACTIONS, Pass: 'pass' } as const;

export const lowerAdminNetworkPolicy = (object: AdminNetworkPolicy): Policy =>
  lowerClusterPolicy(object, {
    kind: 'AdminNetworkPolicy',
    tier: TIERS.admin,
    priority: readPriority(object.spec?.priority),
    actions: ADMIN_ACTIONS,
    readPorts,
  });

/** There is one in a cluster: another name than `default` is nobody's policy. */
export function lowerBaselineAdminNetworkPolicy(object: BaselineAdminNetworkPolicy): Policy {
  const policy = lowerClusterPolicy(object, {
    kind: 'BaselineAdminNetworkPolicy',
    tier: TIERS.baseline,
    priority: BASELINE_PRIORITY,
    actions: BASELINE_ACTIONS,
    readPorts,
  });
  const { name } = object.metadata;
  if (name === 'default') return policy;
  return forNobody(policy, 'metadata.name', `"${name}" is not default, the name of the only one`);
}

function readPorts({ ports }: AdminPolicyRule, path: string, report: Report): PortMatch[] | null | undefined {
  if (!ports) return null;
  const read = ports.map((port, i) => readPort(port, `${path}.ports[${i}]`, report));
  const known = read.filter((each) => each !== undefined);
  if (known.length === 0 && read.length === 0) report(`${path}.ports`, 'needs at least one port');
  return known.length < read.length || read.length === 0 ? undefined : known.flat();
}

function readPort(port: AdminPolicyPort, path: string, report: Report): PortMatch[] | undefined {
  const { portNumber, portRange, namedPort } = port;
  const given = [portNumber, portRange, namedPort].filter((each) => each !== undefined && each !== null);
  if (given.length !== 1 || Object.keys(port).length !== 1) {
    report(path, 'needs one of portNumber, portRange and namedPort');
    return undefined;
  }
  if (namedPort !== undefined) return portsNamed(namedPort, `${path}.namedPort`, report);
  const at = portNumber ? `${path}.portNumber` : `${path}.portRange`;
  const protocol = readProtocol(portNumber?.protocol ?? portRange?.protocol, at, report);
  if (!protocol) return undefined;
  if (portNumber) return readRange(protocol, portNumber.port, portNumber.port, `${at}.port`, report);
  return readRange(protocol, portRange!.start, portRange!.end, at, report);
}

function readRange(
  protocol: PortProtocol,
  first: unknown,
  last: unknown,
  path: string,
  report: Report,
): PortMatch[] | undefined {
  if (isPort(first) && isPort(last) && first <= last) return [{ protocol, first, last }];
  report(
    path,
    `${JSON.stringify([first, last])} are not ports from 1 to 65535, the second not before the first`,
  );
  return undefined;
}
