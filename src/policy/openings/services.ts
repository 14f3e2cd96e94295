/** What Services open by themselves: node ports, external addresses, and addresses of balancers. */
import type { KubeObject } from '../../api/types.ts';
import type { PortProtocol } from '../world.ts';
import type { Opened, OpenedBy, Sender } from './opened.ts';

export interface ServiceObject extends KubeObject {
  spec?: {
    type?: string;
    selector?: Record<string, string>;
    externalIPs?: string[];
    externalName?: string;
    loadBalancerSourceRanges?: string[];
    allocateLoadBalancerNodePorts?: boolean;
    ports?: ServicePort[];
  };
  status?: { loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } };
}

export interface ServicePort {
  name?: string;
  port: number;
  targetPort?: number | string;
  nodePort?: number;
  protocol?: PortProtocol;
}

const ANYBODY: Sender = { type: 'outside', ranges: null };

export function openedByService(service: ServiceObject): OpenedBy {
  const { spec = {}, status, metadata } = service;
  const { type = 'ClusterIP', ports = [], externalIPs = [], loadBalancerSourceRanges: ranges = [] } = spec;
  const ref = { kind: 'Service', namespace: metadata.namespace ?? 'default', name: metadata.name };
  if (type === 'ExternalName') return { opened: [], unopened: [] };
  const hasNodePorts =
    type === 'NodePort' || (type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
  const balancers = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => ip ?? hostname ?? []);
  const opened = ports.flatMap((port, i): Opened[] => {
    const open = (entry: string, sender: Sender): Opened => ({
      by: { ...ref, path: `spec.ports[${i}]` },
      entry,
      sender,
      service: ref,
      port: port.port,
      protocol: port.protocol ?? 'TCP',
    });
    const of: Sender = ranges.length > 0 ? { type: 'outside', ranges } : ANYBODY;
    return [
      ...(type === 'LoadBalancer' ? [open(balancerText(balancers, port.port), of)] : []),
      ...(hasNodePorts ? [open(`node port ${port.nodePort ?? '(drawn)'}`, ANYBODY)] : []),
      ...externalIPs.map((address) => open(`external address ${address} port ${port.port}`, ANYBODY)),
    ];
  });
  return { opened, unopened: [] };
}

const balancerText = (addresses: readonly string[], port: number): string =>
  `load balancer ${addresses.length > 0 ? addresses.join(', ') : '(address drawn)'} port ${port}`;
