/** A Service and its EndpointSlices → frontends. Headless Services and ExternalName have none. */
import type { EndpointSlice, Service } from '../../api/types.ts';
import { canonicalAddress, type Family, tryParseAddress } from '../../lib/ip.ts';
import type { BackendAddress, PortProtocol, ServiceFrontend } from './tables.ts';

type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];
type ServicePort = NonNullable<NonNullable<Service['spec']>['ports']>[number];

export const serviceKey = (service: Service): string =>
  `${service.metadata.namespace ?? 'default'}/${service.metadata.name}`;

export function frontendsOf(service: Service, slices: readonly EndpointSlice[]): ServiceFrontend[] {
  return clusterAddresses(service).flatMap(({ text, family }) =>
    (service.spec?.ports ?? []).map((port) => ({
      service: serviceKey(service),
      kind: 'ClusterIP' as const,
      whenEmpty: 'refuse' as const,
      algorithm: 'random' as const,
      forwarding: 'snat' as const,
      address: text,
      protocol: protocolOf(port.protocol),
      port: port.port,
      backends: backendsOf(
        port,
        slices.filter((slice) => slice.addressType === `IPv${family}`),
      ),
    })),
  );
}

const protocolOf = (text: string | undefined): PortProtocol =>
  text === 'UDP' || text === 'SCTP' ? text : 'TCP';

function clusterAddresses(service: Service): { text: string; family: Family }[] {
  const spec = service.spec;
  if (!spec || spec.type === 'ExternalName') return [];
  const texts = spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? ''];
  return texts.flatMap((text) => {
    const address = tryParseAddress(text);
    return address ? [{ text: canonicalAddress(text), family: address.family }] : [];
  });
}

/** Endpoints that are ready; if none is, those that end but still serve (a roll-out's last ones). */
function backendsOf(port: ServicePort, slices: readonly EndpointSlice[]): BackendAddress[] {
  const ready = collect(port, slices, isReady);
  return ready.length > 0 ? ready : collect(port, slices, isServingWhileEnding);
}

const isReady = ({ conditions }: Endpoint): boolean => conditions?.ready !== false;

const isServingWhileEnding = ({ conditions }: Endpoint): boolean =>
  conditions?.terminating === true && conditions.serving !== false;

function collect(
  port: ServicePort,
  slices: readonly EndpointSlice[],
  wanted: (endpoint: Endpoint) => boolean,
): BackendAddress[] {
  const found = new Map<string, BackendAddress>();
  for (const slice of slices) {
    const target = slice.ports?.find(
      (each) =>
        (each.name ?? '') === (port.name ?? '') && protocolOf(each.protocol) === protocolOf(port.protocol),
    )?.port;
    if (target === undefined) continue;
    for (const endpoint of (slice.endpoints ?? []).filter(wanted)) {
      // All addresses of one endpoint are the same thing (discovery.k8s.io/v1): consumers use the first.
      const text = endpoint.addresses[0];
      if (text === undefined || !tryParseAddress(text)) continue;
      const address = canonicalAddress(text);
      found.set(`${address} ${target}`, { address, port: target });
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, backend]) => backend);
}
