/** The names that one service has (Kubernetes DNS-Based Service Discovery 1.1.0, sections 2.3 to 2.5). Pure. */
import type { EndpointSlice, Service } from '../api/types.ts';
import { formatAddress, toBytes, tryCanonical, tryParseAddress } from '../lib/ip.ts';
import type { ResourceRecord } from './record.ts';

export interface ServiceNames {
  /** Every name below and including the service's own, lower case; one without records just exists. */
  readonly names: ReadonlyMap<string, readonly ResourceRecord[]>;
  /** Canonical addresses with the names they stand for. */
  readonly reverse: ReadonlyMap<string, readonly string[]>;
}

type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];
type Port = { readonly name?: string; readonly protocol?: string; readonly port?: number };

/** A network address of an endpoint, and the name it has below the service's. */
interface Host {
  readonly name: string;
  readonly address: string;
  readonly ports: readonly Port[];
}

/** All SRV records weigh the same: clients spread evenly. */
const WEIGHT = 100;

export function serviceNames(
  service: Service,
  slices: readonly EndpointSlice[],
  zone: { domain: string; ttl: number },
): ServiceNames {
  const own = ownName(service, zone.domain);
  const build = createBuilder(own, zone.ttl);
  const { type, externalName, clusterIP } = service.spec ?? {};
  if (type === 'ExternalName') build.alias(externalName ?? '');
  else if (clusterIP === 'None') addHeadless(build, own, service, slices);
  else addClusterAddresses(build, own, service);
  return build.result;
}

/** What `serviceNames` has records for, as text. */
export interface NamesAndAddresses {
  readonly names: readonly string[];
  /** Canonical. */
  readonly addresses: readonly string[];
}

/** The keys of `serviceNames`, which of most services are known without making the records. */
export function namesOf(
  service: Service,
  slices: readonly EndpointSlice[],
  zone: { domain: string; ttl: number },
): NamesAndAddresses {
  const { type, clusterIP, clusterIPs, ports } = service.spec ?? {};
  if (type === 'ExternalName' || clusterIP === 'None') {
    const { names, reverse } = serviceNames(service, slices, zone);
    return { names: [...names.keys()], addresses: [...reverse.keys()] };
  }
  const names = new Set([ownName(service, zone.domain)]);
  const [own = ''] = names;
  for (const { name, protocol = 'TCP' } of ports ?? []) {
    if (!name) continue;
    const parent = `_${protocol.toLowerCase()}.${own}`;
    names.add(parent).add(`_${name.toLowerCase()}.${parent}`);
  }
  const texts = clusterIPs ?? (clusterIP ? [clusterIP] : []);
  const addresses = texts.flatMap((text) => tryCanonical(text)?.text ?? []);
  return { names: [...names], addresses: [...new Set(addresses)] };
}

const ownName = ({ metadata }: Service, domain: string): string =>
  `${metadata.name}.${metadata.namespace}.svc.${domain}`.toLowerCase();

function addClusterAddresses(build: Builder, own: string, service: Service): void {
  const { clusterIP, clusterIPs, ports } = service.spec ?? {};
  for (const address of clusterIPs ?? (clusterIP ? [clusterIP] : [])) {
    build.address(own, address);
    build.pointer(address, own);
  }
  for (const port of ports ?? []) build.service(port, own);
}

function addHeadless(build: Builder, own: string, service: Service, slices: readonly EndpointSlice[]): void {
  const all = service.spec?.publishNotReadyAddresses === true;
  for (const host of slices.flatMap((slice) => hostsOf(slice, own, all))) {
    build.address(own, host.address);
    build.address(host.name, host.address);
    build.pointer(host.address, host.name);
    for (const port of host.ports) build.service(port, host.name);
  }
}

/** A condition that is not said counts as ready. */
const isReady = (endpoint: Endpoint): boolean => endpoint.conditions?.ready ?? true;

function hostsOf(slice: EndpointSlice, own: string, all: boolean): Host[] {
  if (slice.addressType === 'FQDN') return [];
  return (slice.endpoints ?? [])
    .filter((endpoint) => all || isReady(endpoint))
    .flatMap((endpoint) =>
      endpoint.addresses.slice(0, 1).map((address) => ({
        name: `${endpoint.hostname?.toLowerCase() || dashed(address)}.${own}`,
        address,
        ports: slice.ports ?? [],
      })),
    );
}

/** The name of an endpoint that has none: `10-244-1-5`, `fd00-10-244--5`. */
const dashed = (address: string): string => address.replaceAll(/[.:]/g, '-');

type Builder = ReturnType<typeof createBuilder>;

function createBuilder(own: string, ttl: number) {
  const names = new Map<string, ResourceRecord[]>([[own, []]]);
  const reverse = new Map<string, string[]>();
  const seen = new Set<string>();

  /** Endpoints repeat between slices while they are rewritten: the same record is kept once. */
  function isNew(name: string, what: string): boolean {
    const key = `${name} ${what}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  }

  function recordsOf(name: string): ResourceRecord[] {
    let records = names.get(name);
    if (!records) names.set(name, (records = []));
    return records;
  }

  return {
    result: { names, reverse },
    address(name: string, text: string): void {
      const address = tryParseAddress(text);
      if (!address || !isNew(name, text)) return;
      const type = address.family === 4 ? 'A' : 'AAAA';
      recordsOf(name).push({ name, ttl, type, address: toBytes(address) });
    },
    /** An SRV record for a named port; the protocol above it becomes a name too. */
    service({ name: portName, protocol = 'TCP', port = 0 }: Port, target: string): void {
      if (!portName) return;
      const parent = `_${protocol.toLowerCase()}.${own}`;
      const name = `_${portName.toLowerCase()}.${parent}`;
      if (!isNew(name, `${port} ${target}`)) return;
      recordsOf(parent);
      recordsOf(name).push({ name, ttl, type: 'SRV', priority: 0, weight: WEIGHT, port, target });
    },
    alias(target: string): void {
      const name = target.replace(/\.$/, '');
      if (name !== '') recordsOf(own).push({ name: own, ttl, type: 'CNAME', target: name });
    },
    pointer(text: string, target: string): void {
      const address = tryParseAddress(text);
      if (!address || !isNew(text, target)) return;
      const key = formatAddress(address);
      const targets = reverse.get(key);
      if (targets) targets.push(target);
      else reverse.set(key, [target]);
    },
  };
}
