/** Endpoints of one port of a Service → who gets its connections, near ones first where hints say so. */
import { WEIGHTS } from '../../api/labels.ts';
import type { EndpointSlice, Service } from '../../api/types.ts';
import { type Family, tryCanonical } from '../../lib/ip.ts';
import type { BackendAddress, PortProtocol } from './tables.ts';

export type SliceEndpoint = NonNullable<EndpointSlice['endpoints']>[number];
type ServicePort = NonNullable<NonNullable<Service['spec']>['ports']>[number];

/** Where the node of this plan is, and where others are. */
export interface Place {
  readonly node: string;
  /** `topology.kubernetes.io/zone` and `region` of the node; empty: unknown. */
  readonly zone: string;
  readonly region: string;
  regionOf(node: string): string | undefined;
}

export interface Serving {
  /** For every client by default. */
  readonly all: readonly BackendAddress[];
  /** Those on this node: what Local policies use. */
  readonly local: readonly BackendAddress[];
}

interface Candidate {
  readonly endpoint: SliceEndpoint;
  readonly backend: BackendAddress;
}

export const protocolOf = (text: string | undefined): PortProtocol =>
  text === 'UDP' || text === 'SCTP' ? text : 'TCP';

/**
 * Ready endpoints; if none is, those that end but still serve (a roll-out's last ones). The same again among
 * those of this node.
 */
export function servingOf(
  port: ServicePort,
  family: Family,
  slices: readonly EndpointSlice[],
  place: Place,
): Serving {
  const candidates = collect(port, family, slices, place);
  const near = nearby(
    candidates.filter(({ endpoint }) => isReady(endpoint)),
    place,
  );
  return {
    all: sorted(near.length > 0 ? near : candidates.filter(({ endpoint }) => isServingWhileEnding(endpoint))),
    local: sorted(usable(candidates.filter(({ backend }) => backend.local))),
  };
}

function usable(candidates: readonly Candidate[]): readonly Candidate[] {
  const ready = candidates.filter(({ endpoint }) => isReady(endpoint));
  return ready.length > 0 ? ready : candidates.filter(({ endpoint }) => isServingWhileEnding(endpoint));
}

const isReady = ({ conditions }: SliceEndpoint): boolean => conditions?.ready !== false;

const isServingWhileEnding = ({ conditions }: SliceEndpoint): boolean =>
  conditions?.terminating === true && conditions.serving !== false;

/**
 * As kube-proxy reads hints: those of a kind count when every ready endpoint has one and one names this node
 * or zone. Beyond that, where nothing is hinted for this zone, the own region comes before the rest.
 */
function nearby(ready: readonly Candidate[], place: Place): readonly Candidate[] {
  const nodes = ready.map(({ endpoint }) => endpoint.hints?.forNodes?.map(({ name }) => name) ?? []);
  if (hinted(nodes, place.node)) return ready.filter((_each, i) => nodes[i]?.includes(place.node));
  const zones = ready.map(({ endpoint }) => endpoint.hints?.forZones?.map(({ name }) => name) ?? []);
  if (hinted(zones, place.zone)) return ready.filter((_each, i) => zones[i]?.includes(place.zone));
  if (place.region === '' || !zones.every((names) => names.length > 0)) return ready;
  const inRegion = ready.filter(({ endpoint }) => place.regionOf(endpoint.nodeName ?? '') === place.region);
  return inRegion.length > 0 ? inRegion : ready;
}

const hinted = (hints: readonly (readonly string[])[], own: string): boolean =>
  own !== '' && hints.every((names) => names.length > 0) && hints.some((names) => names.includes(own));

function collect(
  port: ServicePort,
  family: Family,
  slices: readonly EndpointSlice[],
  place: Place,
): Candidate[] {
  const found: Candidate[] = [];
  for (const slice of slices) {
    if (slice.addressType !== `IPv${family}`) continue;
    const target = targetOf(port, slice);
    if (target === undefined) continue;
    const weights = weightsOf(slice);
    for (const endpoint of slice.endpoints ?? []) {
      // All addresses of one endpoint are the same thing (discovery.k8s.io/v1): consumers use the first.
      const text = endpoint.addresses[0];
      const address = text === undefined ? undefined : tryCanonical(text);
      if (text === undefined || address?.family !== family) continue;
      const weight = weights?.get(text);
      const backend: BackendAddress = {
        address: address.text,
        port: target,
        ...(weight === undefined || weight === 1 ? {} : { weight }),
        ...(endpoint.nodeName === place.node ? { local: true } : {}),
      };
      found.push({ endpoint, backend });
    }
  }
  return found;
}

const targetOf = (port: ServicePort, slice: EndpointSlice): number | undefined =>
  slice.ports?.find(
    (each) =>
      (each.name ?? '') === (port.name ?? '') && protocolOf(each.protocol) === protocolOf(port.protocol),
  )?.port;

/** `10.244.1.2=5,10.244.1.3=0`; what cannot be read is nothing. */
export function weightsOf(slice: EndpointSlice): ReadonlyMap<string, number> | undefined {
  const text = slice.metadata.annotations?.[WEIGHTS];
  if (text === undefined) return undefined;
  const weights = new Map<string, number>();
  for (const part of text.split(',')) {
    const [, address, digits] = /^([0-9a-fA-F.:]+)=(\d{1,5})$/.exec(part.trim()) ?? [];
    const weight = Number(digits);
    if (address !== undefined && weight <= 65_535) weights.set(address, weight);
  }
  return weights;
}

/**
 * Without duplicates: of one address and port in two slices (a pod on its way from one to the other) the
 * greater text wins, whichever came first. Where every one drains (weight 0), all are used alike.
 */
function sorted(candidates: readonly Candidate[]): BackendAddress[] {
  const byAddress = new Map<string, BackendAddress>();
  for (const { backend } of candidates) {
    const key = `${backend.address} ${backend.port}`;
    const other = byAddress.get(key);
    if (!other || rank(backend) > rank(other)) byAddress.set(key, backend);
  }
  const list = [...byAddress].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, backend]) => backend);
  if (!list.every(({ weight }) => weight === 0)) return list;
  return list.map(({ weight: _none, ...backend }) => backend);
}

const rank = ({ weight = 1, local }: BackendAddress): number => weight * 2 + (local ? 1 : 0);
