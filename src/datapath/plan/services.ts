/** A Service and its EndpointSlices → frontends. Headless Services and ExternalName have none. */
import type { EndpointSlice, Service } from '../../api/types.ts';
import { contains, type Family, parseCidr, tryCanonical, tryParseAddress } from '../../lib/ip.ts';
import { type Place, protocolOf, type Serving, servingOf } from './endpoints.ts';
import { routingOf } from '../routing.ts';
import { algorithmOf, forwardingOf, sourceRangesOf } from './service-words.ts';
import { type FrontendKind, frontendKey, type ServiceFrontend, type Settings } from './tables.ts';

type ServicePort = NonNullable<NonNullable<Service['spec']>['ports']>[number];

export interface ServiceView {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
  readonly place: Place;
  readonly settings: Settings | undefined;
}

/** Seconds, the default of Kubernetes. */
const AFFINITY = 10_800;

export const serviceKey = (service: Service): string =>
  `${service.metadata.namespace ?? 'default'}/${service.metadata.name}`;

interface FrontendAddress {
  readonly kind: FrontendKind;
  readonly text: string;
  readonly family: Family;
}

/** One for each address, protocol and port; of several kinds with one address the first of `addressesOf`. */
export function frontendsOf(view: ServiceView): ServiceFrontend[] {
  const addresses = addressesOf(view);
  const found = new Map<string, ServiceFrontend>();
  for (const port of view.service.spec?.ports ?? []) {
    const serving = new Map<Family, Serving>();
    for (const address of addresses) {
      const number = address.kind === 'NodePort' ? port.nodePort : port.port;
      if (!number) continue;
      const { family } = address;
      const ends = serving.get(family) ?? servingOf(port, family, view.slices, view.place);
      serving.set(family, ends);
      const frontend = frontendOf(view, address, port, number, ends);
      const key = frontendKey(frontend);
      if (!found.has(key)) found.set(key, frontend);
    }
  }
  return [...found.values()];
}

function frontendOf(
  { service, settings }: ServiceView,
  { kind, text, family }: FrontendAddress,
  port: ServicePort,
  number: number,
  { all, local }: Serving,
): ServiceFrontend {
  const spec = service.spec ?? {};
  const internal = kind === 'ClusterIP';
  const isLocal = (internal ? spec.internalTrafficPolicy : spec.externalTrafficPolicy) === 'Local';
  const ranges = kind === 'LoadBalancer' ? sourceRangesOf(service, family) : undefined;
  return {
    service: serviceKey(service),
    kind,
    address: text,
    protocol: protocolOf(port.protocol),
    port: number,
    backends: isLocal && internal ? local : all,
    // Clients inside a cluster go as if through the cluster address: there is no balancer in front of them.
    ...(isLocal && !internal ? { externalBackends: local } : {}),
    // As kube-proxy: where another node serves, silence makes an outside balancer or a client try that one.
    whenEmpty: isLocal && all.length > 0 ? 'drop' : 'refuse',
    algorithm: algorithmOf(service, kind),
    // Which service it is for, a frame says: in VXLAN alone.
    forwarding: routingOf(settings).sends === 'vxlan' ? forwardingOf(service, kind) : 'snat',
    ...(spec.sessionAffinity === 'ClientIP'
      ? { affinitySeconds: spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? AFFINITY }
      : {}),
    ...(ranges ? { sourceRanges: ranges } : {}),
  };
}

function addressesOf({ service, settings }: ServiceView): FrontendAddress[] {
  const spec = service.spec ?? {};
  const cluster = clusterAddresses(service);
  const exposed = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  const others = [
    ...placed('LoadBalancer', balancerTexts(service)),
    ...placed('NodePort', exposed ? (settings?.nodePortAddresses ?? settings?.nodeAddresses ?? []) : []),
    ...placed(
      'ExternalIP',
      (spec.externalIPs ?? []).filter((text) => !isClusterRange(text, settings)),
    ),
  ];
  const families = servedFamilies(service);
  return [...cluster, ...others.filter(({ family }) => families.has(family))];
}

/** None: it is headless, or another name of something. */
function clusterAddresses({ spec }: Service): FrontendAddress[] {
  if (!spec || spec.type === 'ExternalName') return [];
  return placed('ClusterIP', spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? '']);
}

/** Those that it has cluster addresses of, as `spec.ipFamilies` says: in another it is nowhere, at nodes and outside neither. */
export const servedFamilies = (service: Service): ReadonlySet<Family> =>
  new Set(clusterAddresses(service).map(({ family }) => family));

const placed = (kind: FrontendKind, texts: readonly string[]): FrontendAddress[] =>
  texts.flatMap((text) => {
    const address = tryCanonical(text);
    return address ? [{ kind, ...address }] : [];
  });

/** `ipMode: Proxy` wants clients inside to go by the balancer too. */
function balancerTexts({ spec, status }: Service): string[] {
  if (spec?.type !== 'LoadBalancer') return [];
  return (status?.loadBalancer?.ingress ?? [])
    .filter(({ ip, ipMode }) => ip !== undefined && ipMode !== 'Proxy')
    .map(({ ip }) => ip ?? '');
}

/** Who may write Services must not take over other Services' and pods' addresses (CVE-2020-8554). */
export function isClusterRange(text: string, settings: Settings | undefined): boolean {
  const address = tryParseAddress(text);
  if (!address || !settings) return false;
  return [...settings.serviceCidrs, ...settings.podCidrs].some((cidr) => contains(parseCidr(cidr), address));
}

/** Hints are of use only to services that have some: who they are must be known when a zone changes. */
export const hasHints = (slices: readonly EndpointSlice[]): boolean =>
  slices.some((slice) => slice.endpoints?.some(({ hints }) => hints !== undefined));
