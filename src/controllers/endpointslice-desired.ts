/** Which endpoints a service has, by its pods: one group for each address family and set of ports. Pure. */
import { WEIGHT, ZONE } from '../api/labels.ts';
import type { EndpointSlice, Node, Pod, Service } from '../api/types.ts';
import { canonicalJson } from '../lib/json.ts';
import { isFinished, isReady, isTerminating } from './pods.ts';

export type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];
export type EndpointPort = NonNullable<EndpointSlice['ports']>[number];
export type AddressType = 'IPv4' | 'IPv6';

export interface EndpointGroup {
  addressType: AddressType;
  ports: EndpointPort[];
  /** By `endpointKey`. */
  endpoints: Map<string, Endpoint>;
  /** By address; what is not in it weighs 1. */
  weights: Map<string, number>;
}

/** Whether slices are kept for the service here; others are their makers' business. */
export const isManaged = ({ spec }: Service): boolean =>
  spec?.type !== 'ExternalName' && Object.keys(spec?.selector ?? {}).length > 0;

export const groupKey = (addressType: string, ports: readonly EndpointPort[] = []): string =>
  `${addressType} ${canonicalJson([...ports].map(canonicalJson).sort())}`;

/** An endpoint is the same as long as it is the same pod at the same address. */
export const endpointKey = ({ targetRef, addresses }: Endpoint): string =>
  `${targetRef?.uid ?? ''} ${addresses.join()}`;

export interface ServiceView {
  service: Service;
  /** Pods that its selector selects. */
  pods: readonly Pod[];
  nodeOf(name: string): Node | undefined;
}

/** Groups by `groupKey`. A family without endpoints has one empty group, so that its slice says "none". */
export function desiredGroups({ service, pods, nodeOf }: ServiceView): Map<string, EndpointGroup> {
  const groups = new Map<string, EndpointGroup>();
  for (const addressType of familiesOf(service)) {
    let any = false;
    for (const pod of pods) {
      const endpoint = endpointOf(service, pod, addressType, nodeOf);
      if (!endpoint) continue;
      any = true;
      const ports = portsFor(service, pod);
      const { endpoints, weights } = groupFor(groups, addressType, ports);
      endpoints.set(endpointKey(endpoint), endpoint);
      const weight = weightOf(pod);
      if (weight !== 1) for (const address of endpoint.addresses) weights.set(address, weight);
    }
    if (!any) groupFor(groups, addressType, []);
  }
  return groups;
}

function groupFor(groups: Map<string, EndpointGroup>, addressType: AddressType, ports: EndpointPort[]) {
  const key = groupKey(addressType, ports);
  const known = groups.get(key);
  if (known) return known;
  const group: EndpointGroup = { addressType, ports, endpoints: new Map(), weights: new Map() };
  groups.set(key, group);
  return group;
}

function familiesOf({ spec }: Service): AddressType[] {
  const families = spec?.ipFamilies ?? [];
  if (families.length > 0) return families.map((family) => (family === 'IPv6' ? 'IPv6' : 'IPv4'));
  // A service of before families existed: as its address is.
  return [spec?.clusterIP?.includes(':') ? 'IPv6' : 'IPv4'];
}

function endpointOf(
  service: Service,
  pod: Pod,
  addressType: AddressType,
  nodeOf: ServiceView['nodeOf'],
): Endpoint | undefined {
  const { nodeName } = pod.spec ?? {};
  const addresses = addressesOf(pod, addressType);
  if (!nodeName || addresses.length === 0 || isFinished(pod)) return undefined;
  const zone = nodeOf(nodeName)?.metadata.labels?.[ZONE];
  const { name, namespace, uid } = pod.metadata;
  return {
    addresses,
    conditions: conditionsOf(service, pod),
    ...(hostnameOf(service, pod) ? { hostname: hostnameOf(service, pod) } : {}),
    nodeName,
    targetRef: { kind: 'Pod', name, namespace, uid },
    ...(zone ? { zone } : {}),
    ...hintsOf(service, nodeName, zone),
  };
}

/** For whom an endpoint is meant first. Who finds none meant for it uses all. */
function hintsOf({ spec }: Service, node: string, zone: string | undefined): Pick<Endpoint, 'hints'> {
  const wish = spec?.trafficDistribution;
  const forZones = zone ? { forZones: [{ name: zone }] } : {};
  if (wish === 'PreferSameNode') return { hints: { forNodes: [{ name: node }], ...forZones } };
  const near = wish === 'PreferClose' || wish === 'PreferSameZone';
  return near && zone ? { hints: forZones } : {};
}

/** What cannot be read as 0 to 65535 is 1. */
function weightOf({ metadata }: Pod): number {
  const text = metadata.annotations?.[WEIGHT] ?? '1';
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : 1;
}

/**
 * What follows from `ready` is left out (an absent `serving` is `ready`'s value, an absent `terminating` is
 * false): it is most of what would be said, of every endpoint, to every watcher.
 */
function conditionsOf(service: Service, pod: Pod): Endpoint['conditions'] {
  const serving = isReady(pod);
  const terminating = isTerminating(pod);
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
  return ready && serving && !terminating ? { ready } : { ready, serving, terminating };
}

function addressesOf({ status }: Pod, addressType: AddressType): string[] {
  const all = status?.podIPs?.map(({ ip }) => ip) ?? (status?.podIP ? [status.podIP] : []);
  const first = all.find((ip) => ip?.includes(':') === (addressType === 'IPv6'));
  return first ? [first] : [];
}

function hostnameOf(service: Service, pod: Pod): string | undefined {
  const { hostname, subdomain } = pod.spec ?? {};
  return hostname && subdomain === service.metadata.name ? hostname : undefined;
}

function portsFor(service: Service, pod: Pod): EndpointPort[] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const protocol = port.protocol ?? 'TCP';
    const number = targetPort(pod, port.targetPort ?? port.port, protocol);
    if (number === undefined) return [];
    const { appProtocol } = port;
    return [{ name: port.name ?? '', port: number, protocol, ...(appProtocol ? { appProtocol } : {}) }];
  });
}

/** A number as it is, a name as the pod's containers declare it for the protocol. */
function targetPort(pod: Pod, target: string | number, protocol: string): number | undefined {
  if (typeof target === 'number') return target;
  const sidecars = (pod.spec?.initContainers ?? []).filter((one) => one.restartPolicy === 'Always');
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    const found = container.ports?.find(
      (port) => port.name === target && (port.protocol ?? 'TCP') === protocol,
    );
    if (found) return found.containerPort;
  }
  return undefined;
}
