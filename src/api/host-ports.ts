/** Ports of its node that a pod asks for: of its containers, and of sidecars. Pods on their node's network open their own. */
import { canonicalAddress, tryParseAddress } from '../lib/ip.ts';
import type { Pod } from './types.ts';

export interface HostPort {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  /** Canonical; absent: at all addresses of the node. */
  readonly hostIP?: string;
}

const ANY = new Set(['', '0.0.0.0', '::']);

export function hostPortsOf({ spec }: Pick<Pod, 'spec'>): HostPort[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...sidecars, ...(spec?.containers ?? [])].flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort, containerPort, protocol, hostIP = '' }): HostPort[] => {
      if (!hostPort) return [];
      return [
        {
          hostPort,
          containerPort,
          protocol: protocol === 'UDP' || protocol === 'SCTP' ? protocol : 'TCP',
          ...(ANY.has(hostIP) || !tryParseAddress(hostIP) ? {} : { hostIP: canonicalAddress(hostIP) }),
        },
      ];
    }),
  );
}

/** Whether both cannot be on one node, as Kubernetes' scheduler has it: an address of one is part of all of the other. */
export const collide = (a: HostPort, b: HostPort): boolean =>
  a.hostPort === b.hostPort &&
  a.protocol === b.protocol &&
  (a.hostIP === undefined || b.hostIP === undefined || a.hostIP === b.hostIP);
