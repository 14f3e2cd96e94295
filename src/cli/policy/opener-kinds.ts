/** Kinds that open workloads to the outside, as clusters serve them. A cluster may have none of them. */
import type { Kind } from '../../api/kinds.ts';

const of = (group: string, version: string, kind: string, resource: string): Kind => ({
  group,
  version,
  kind,
  resource,
  namespaced: true,
});

const GATEWAYS = 'gateway.networking.k8s.io';

/** But for Services, which every cluster has. */
export const OPENER_KINDS: readonly Kind[] = [
  of('networking.k8s.io', 'v1', 'Ingress', 'ingresses'),
  of(GATEWAYS, 'v1', 'Gateway', 'gateways'),
  of(GATEWAYS, 'v1', 'HTTPRoute', 'httproutes'),
  of(GATEWAYS, 'v1', 'GRPCRoute', 'grpcroutes'),
  of(GATEWAYS, 'v1alpha2', 'TCPRoute', 'tcproutes'),
  of(GATEWAYS, 'v1alpha2', 'UDPRoute', 'udproutes'),
  of(GATEWAYS, 'v1alpha2', 'TLSRoute', 'tlsroutes'),
  of(GATEWAYS, 'v1beta1', 'ReferenceGrant', 'referencegrants'),
];
