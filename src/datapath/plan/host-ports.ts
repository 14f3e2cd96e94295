/** Ports of the node that lead to one pod on it: a node port with one backend, which sees who calls. */
import { tryCanonical } from '../../lib/ip.ts';
import { tunnelMarks } from '../routing.ts';
import { protocolOf } from './endpoints.ts';
import type { Problem } from './problems.ts';
import type { BackendAddress, ServiceFrontend, Settings } from './tables.ts';

export interface HostPortPod {
  /** `namespace/name` */
  readonly pod: string;
  /** One per family at most, canonical. */
  readonly addresses: readonly string[];
  readonly ports: readonly HostPortMapping[];
}

export interface HostPortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  /** In any case. */
  readonly protocol: string;
  /** At this address of the node only; at all of them without, at all of a family with `0.0.0.0` and `::`. */
  readonly hostIP?: string;
}

const is6 = (address: string): boolean => address.includes(':');

export function hostPortFrontends(
  pods: readonly HostPortPod[],
  settings: Settings | undefined,
): ServiceFrontend[] {
  if (!settings) return [];
  return pods.flatMap(({ pod, addresses, ports }) =>
    ports.flatMap((mapping) =>
      servedAt(mapping, settings).flatMap((address): ServiceFrontend[] => {
        const own = addresses.find((each) => is6(each) === is6(address));
        if (own === undefined) return [];
        const backends: BackendAddress[] = [{ address: own, port: mapping.containerPort, local: true }];
        return [
          {
            // No Service has a name with a colon.
            service: pod.replace('/', '/pod:'),
            kind: 'NodePort',
            address,
            protocol: protocolOf(mapping.protocol.toUpperCase()),
            port: mapping.hostPort,
            backends,
            // As `externalTrafficPolicy: Local`: nobody translates the caller's address.
            externalBackends: backends,
            whenEmpty: 'refuse',
            algorithm: 'random',
            forwarding: 'snat',
          },
        ];
      }),
    ),
  );
}

/** PROBE_PORT of path/wire.ts */
const PATH_PROBE_PORT = 7248;

/** What other nodes send to this one: a pod that had it would be sent what is for all others. */
const isNodes = ({ hostPort, protocol }: HostPortMapping, settings: Settings): boolean =>
  protocol.toUpperCase() === 'UDP' &&
  (hostPort === PATH_PROBE_PORT || tunnelMarks(settings).udpPorts.includes(hostPort));

function servedAt(mapping: HostPortMapping, settings: Settings): readonly string[] {
  const { hostIP } = mapping;
  const { nodeAddresses } = settings;
  if (isNodes(mapping, settings)) return [];
  if (hostIP === undefined || hostIP === '') return nodeAddresses;
  if (hostIP === '0.0.0.0' || hostIP === '::')
    return nodeAddresses.filter((address) => is6(address) === is6(hostIP));
  const text = tryCanonical(hostIP)?.text;
  return nodeAddresses.filter((address) => address === text);
}

/** Addresses that are not the node's, where nothing comes that could be led on; ports that are the node's. */
export function hostPortProblems(pods: readonly HostPortPod[], settings: Settings | undefined): Problem[] {
  if (!settings) return [];
  return pods.flatMap(({ pod, ports }) =>
    ports
      .filter((mapping) => servedAt(mapping, settings).length === 0)
      .map((mapping) => ({ object: `Pod ${pod}`, ...whyNot(mapping, settings) })),
  );
}

function whyNot(mapping: HostPortMapping, settings: Settings): Omit<Problem, 'object'> {
  const { hostIP, hostPort } = mapping;
  const field = 'spec.containers[].ports[]';
  if (isNodes(mapping, settings))
    return {
      field: `${field}.hostPort`,
      message: `host port ${hostPort}/UDP is the node's own, for packets and path probes of other nodes: it is not served`,
    };
  return {
    field: `${field}.hostIP`,
    message: `${hostIP} is no address of this node (${settings.nodeAddresses.join(', ')}): host port ${hostPort} is not served`,
  };
}
