/** The kinds that Heddle serves, in the order in which discovery lists them. */
import { adminNetworkPolicy, baselineAdminNetworkPolicy } from './admin-network-policy.ts';
import { authorizationPolicy } from './authorization-policy.ts';
import { loadBalancerIpPool } from './balancer-pool.ts';
import { ciliumBgpAdvertisement } from './cilium-bgp-advertisement.ts';
import {
  ciliumBgpClusterConfig,
  ciliumBgpNodeConfig,
  ciliumBgpNodeConfigOverride,
} from './cilium-bgp-cluster.ts';
import { ciliumBgpPeerConfig } from './cilium-bgp-peer.ts';
import { ciliumCidrGroup } from './cilium-cidr-group.ts';
import { ciliumClusterwideNetworkPolicy, ciliumNetworkPolicy } from './cilium-policy.ts';
import { calicoNetworkPolicy, globalNetworkPolicy } from './calico-policy.ts';
import { globalNetworkSet, networkSet, tier } from './calico-sets.ts';
import { clusterNetworkPolicy } from './cluster-network-policy.ts';
import { configMap } from './config-map.ts';
import { deployment } from './deployment.ts';
import { endpointSlice } from './endpoint-slice.ts';
import { event } from './event.ts';
import { ipReservation, storedIpReservation } from './ip-reservation.ts';
import { apiVersionOf } from './kinds.ts';
import { lease } from './lease.ts';
import { namespace } from './namespace.ts';
import { networkPolicy } from './network-policy.ts';
import { node } from './node.ts';
import { peerAuthentication } from './peer-authentication.ts';
import { pod } from './pod.ts';
import { ciliumNode, ciliumPodIpPool } from './pod-ip-pool.ts';
import { replicaSet } from './replica-set.ts';
import type { Resource } from './resource.ts';
import { secret } from './secret.ts';
import { service } from './service.ts';
import { serviceAccount } from './service-account.ts';
import type { ObjectMeta } from './types.ts';
import { uplinkProtection } from './uplink-protection.ts';

/** Each resource is written against its own type; the server handles all of them as objects of the wire. */
const erase = <T extends { metadata: ObjectMeta }>(resource: Resource<T>): Resource =>
  resource as unknown as Resource;

export const registry: readonly Resource[] = [
  erase(configMap),
  erase(event),
  erase(namespace),
  erase(node),
  erase(pod),
  erase(secret),
  erase(serviceAccount),
  erase(service),
  erase(deployment),
  erase(replicaSet),
  erase(endpointSlice),
  erase(networkPolicy),
  // Before ClusterNetworkPolicy: both have the short name cnp, and the first that is listed has it.
  erase(ciliumNetworkPolicy),
  erase(ciliumClusterwideNetworkPolicy),
  erase(ciliumCidrGroup),
  erase(adminNetworkPolicy),
  erase(baselineAdminNetworkPolicy),
  erase(clusterNetworkPolicy),
  erase(authorizationPolicy),
  erase(peerAuthentication),
  erase(calicoNetworkPolicy),
  erase(globalNetworkPolicy),
  erase(tier),
  erase(networkSet),
  erase(globalNetworkSet),
  erase(lease),
  erase(loadBalancerIpPool),
  erase(ciliumPodIpPool),
  erase(ciliumNode),
  erase(ipReservation),
  erase(storedIpReservation),
  erase(ciliumBgpClusterConfig),
  erase(ciliumBgpPeerConfig),
  erase(ciliumBgpAdvertisement),
  erase(ciliumBgpNodeConfig),
  erase(ciliumBgpNodeConfigOverride),
  erase(uplinkProtection),
];

const byResource = new Map(registry.map((r) => [`${r.kind.group}/${r.kind.version}/${r.kind.resource}`, r]));
const byKind = new Map(registry.map((r) => [`${apiVersionOf(r.kind)} ${r.kind.kind}`, r]));

/** `findResource('apps', 'v1', 'deployments')` */
export const findResource = (group: string, version: string, resource: string): Resource | undefined =>
  byResource.get(`${group}/${version}/${resource}`);

/** `findKind('apps/v1', 'Deployment')` */
export const findKind = (apiVersion: string, kind: string): Resource | undefined =>
  byKind.get(`${apiVersion} ${kind}`);

/**
 * What a user writes on a command line: plural, singular, short name or kind, in any case, with or without
 * the group or its beginning (`deploy`, `deployments.apps`, `networkpolicy.p`). Of several the first listed.
 */
export const findByUserWord = (word: string): Resource | undefined => allByUserWord(word)[0];

/** Two kinds may have one short name: the first is meant, as kubectl takes the first that discovery lists. */
export function allByUserWord(word: string): Resource[] {
  const [name = '', ...group] = word.toLowerCase().split('.');
  const wanted = group.join('.');
  const named = registry.filter(
    (r) =>
      r.kind.resource === name ||
      r.singular === name ||
      r.kind.kind.toLowerCase() === name ||
      r.shortNames.includes(name),
  );
  if (wanted === '') return named;
  const exact = named.filter(
    ({ kind }) => wanted === kind.group || wanted === `${kind.version}.${kind.group}`,
  );
  return exact.length > 0 ? exact : named.filter(({ kind }) => kind.group.startsWith(wanted));
}

/** The resources of a category, such as `all`. */
export const ofCategory = (category: string): Resource[] =>
  registry.filter((r) => r.categories.includes(category));
