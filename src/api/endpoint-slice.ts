import type { IEndpoint } from 'kubernetes-models/discovery.k8s.io/v1/Endpoint';
import { tryParseAddress } from '../lib/ip.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import {
  duplicate,
  formatted,
  immutable,
  invalid,
  oneOf,
  type Problems,
  required,
  tooMany,
} from './field-error.ts';
import { dns1123Label, dns1123Subdomain, portNumber, qualifiedName } from './formats.ts';
import { ENDPOINT_SLICE } from './kinds.ts';
import type { EndpointSlice } from './types.ts';

const MAX_ENDPOINTS = 1000;
const MAX_ADDRESSES = 100;
const MAX_PORTS = 20_000;
const TYPES = ['FQDN', 'IPv4', 'IPv6'];

function* validateAddress(text: string, type: string, path: string): Problems {
  if (type === 'FQDN') {
    yield* formatted(path, text, dns1123Subdomain);
    return;
  }
  const address = tryParseAddress(text);
  const family = type === 'IPv4' ? 4 : 6;
  if (address?.family !== family)
    yield invalid(
      path,
      text,
      type === 'IPv4' ? 'must be a valid IPv4 address' : 'must be a valid IPv6 address',
    );
  else if (isUnreachable(text))
    yield invalid(path, text, 'may not be unspecified, loopback, link-local or multicast');
}

const isUnreachable = (text: string): boolean =>
  /^(0\.0\.0\.0$|127\.|169\.254\.|22[4-9]\.|23\d\.|::1?$|fe[89ab]|ff)/i.test(text);

function* validateEndpoint(endpoint: IEndpoint, type: string, path: string): Problems {
  const addresses = endpoint.addresses ?? [];
  if (addresses.length === 0) yield required(`${path}.addresses`, 'must contain at least 1 address');
  if (addresses.length > MAX_ADDRESSES) yield tooMany(`${path}.addresses`, addresses.length, MAX_ADDRESSES);
  for (const [i, address] of addresses.entries())
    yield* validateAddress(address, type, `${path}.addresses[${i}]`);
  if (endpoint.hostname !== undefined) yield* formatted(`${path}.hostname`, endpoint.hostname, dns1123Label);
  if (endpoint.nodeName !== undefined)
    yield* formatted(`${path}.nodeName`, endpoint.nodeName, dns1123Subdomain);
}

function* validatePorts(slice: EndpointSlice): Problems {
  const ports = slice.ports ?? [];
  if (ports.length > MAX_PORTS) yield tooMany('ports', ports.length, MAX_PORTS);
  const names = new Set<string>();
  for (const [i, port] of ports.entries()) {
    const at = `ports[${i}]`;
    const name = port.name ?? '';
    if (name !== '') yield* formatted(`${at}.name`, name, dns1123Label);
    if (names.has(name)) yield duplicate(`${at}.name`, name);
    names.add(name);
    if (port.port !== undefined)
      for (const words of portNumber(port.port)) yield invalid(`${at}.port`, port.port, words);
    yield* oneOf(`${at}.protocol`, port.protocol, ['TCP', 'UDP', 'SCTP']);
    if (port.appProtocol !== undefined)
      yield* formatted(`${at}.appProtocol`, port.appProtocol, qualifiedName);
  }
}

function* validate(slice: EndpointSlice): Problems {
  const type: string = slice.addressType ?? '';
  if (type === '') yield required('addressType');
  else yield* oneOf('addressType', type, TYPES);
  const endpoints = slice.endpoints ?? [];
  if (endpoints.length > MAX_ENDPOINTS) yield tooMany('endpoints', endpoints.length, MAX_ENDPOINTS);
  if (TYPES.includes(type))
    for (const [i, endpoint] of endpoints.entries())
      yield* validateEndpoint(endpoint, type, `endpoints[${i}]`);
  yield* validatePorts(slice);
}

/** The first three of a list, and how many more. */
function some(values: readonly string[]): string {
  if (values.length === 0) return '<unset>';
  const more = values.length - 3;
  return values.slice(0, 3).join(',') + (more > 0 ? ` + ${more} more...` : '');
}

export const endpointSlice = define<EndpointSlice>({
  kind: ENDPOINT_SLICE,
  singular: 'endpointslice',
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('AddressType', 'Family of its addresses.', (slice) => slice.addressType ?? ''),
    text('Ports', 'Ports of its endpoints.', (slice) =>
      some((slice.ports ?? []).map((p) => String(p.port ?? '*'))),
    ),
    text('Endpoints', 'Its addresses.', (slice) => some((slice.endpoints ?? []).flatMap((e) => e.addresses))),
    ageColumn,
  ],
  setDefaults(slice) {
    for (const port of slice.ports ?? []) {
      port.name ??= '';
      port.protocol ??= 'TCP';
    }
  },
  validate,
  *validateUpdate(now, before) {
    yield* immutable('addressType', now.addressType, before.addressType);
  },
});
