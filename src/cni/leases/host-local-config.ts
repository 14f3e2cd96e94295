/**
 * `ipam` of the type host-local: sets of ranges, of which each gives one address. The same fields, and the same files,
 * as the reference plugin of that name, so that a network which it served goes on here with what it has given.
 */
import {
  type Cidr,
  contains,
  formatAddress,
  lastOf,
  nth,
  tryParseAddress,
  tryParseCidr,
} from '../../lib/ip.ts';
import type { CniRequest, CniRoute } from '../types.ts';
import { type Fields, fieldsOf, listOf, routesOf, textOf, unsupported, wrong } from './read.ts';

export interface HostLocalRange {
  readonly subnet: Cidr;
  /** Canonical, both included. */
  readonly first: string;
  readonly last: string;
  /** Never given. */
  readonly gateway: string;
}

export interface HostLocalConfig {
  readonly sets: readonly (readonly HostLocalRange[])[];
  readonly routes: readonly CniRoute[];
  /** File to read the DNS configuration from. */
  readonly resolvConf: string | undefined;
  /** Files of this network's addresses. */
  readonly folder: string;
}

const DATA = '/var/lib/cni/networks';
const FIELDS = [
  'type',
  'ranges',
  'subnet',
  'rangeStart',
  'rangeEnd',
  'gateway',
  'routes',
  'resolvConf',
  'dataDir',
];

/** @throws CniError invalidConfig, unsupportedField */
export function hostLocalOf({ config }: CniRequest): HostLocalConfig {
  const ipam = fieldsOf(config['ipam'], 'ipam');
  for (const [key, value] of Object.entries(ipam))
    if (!FIELDS.includes(key)) throw unsupported(`ipam.${key}`, value, `host-local has ${FIELDS.join(', ')}`);
  const runtime = fieldsOf(config.runtimeConfig, 'runtimeConfig');
  // What the runtime asks for comes first; the old single range is a set of its own.
  const sets = [
    ...listOf(runtime['ipRanges'], 'runtimeConfig.ipRanges'),
    ...(ipam['subnet'] === undefined ? [] : [[ipam]]),
    ...listOf(ipam['ranges'], 'ipam.ranges'),
  ].map((set, index) => setOf(set, `ipam.ranges[${index}]`));
  if (sets.length === 0) throw wrong('ipam.ranges', ipam['ranges'], 'a list of sets of ranges');
  const dataDir = textOf(ipam['dataDir'], 'ipam.dataDir') ?? DATA;
  if (!dataDir.startsWith('/') || dataDir.includes('\0'))
    throw wrong('ipam.dataDir', dataDir, 'an absolute path');
  return {
    sets,
    routes: routesOf(ipam['routes'], 'ipam.routes'),
    resolvConf: textOf(ipam['resolvConf'], 'ipam.resolvConf'),
    folder: `${dataDir.replace(/\/+$/, '')}/${networkName(config.name)}`,
  };
}

/** The name is part of a path. */
function networkName(name: unknown): string {
  if (typeof name === 'string' && /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) return name;
  throw wrong('name', name, 'letters, digits, "_", "." and "-" after a letter or digit');
}

function setOf(value: unknown, at: string): HostLocalRange[] {
  const set = listOf(value, at).map((range, index) => rangeOf(fieldsOf(range, at), `${at}[${index}]`));
  const [first] = set;
  if (!first) throw wrong(at, value, 'a set of at least one range');
  for (const [index, range] of set.entries()) {
    if (range.subnet.family !== first.subnet.family) throw wrong(at, value, 'of one family');
    if (set.slice(0, index).some((other) => meet(other, range)))
      throw wrong(at, value, 'a set of ranges apart');
  }
  return set;
}

const meet = (a: HostLocalRange, b: HostLocalRange): boolean =>
  valueOf(a.first) <= valueOf(b.last) && valueOf(b.first) <= valueOf(a.last);

export const valueOf = (address: string): bigint => tryParseAddress(address)?.value ?? -1n;

function rangeOf(fields: Fields, at: string): HostLocalRange {
  const text = textOf(fields['subnet'], `${at}.subnet`) ?? '';
  const subnet = tryParseCidr(text);
  if (!subnet) throw wrong(`${at}.subnet`, fields['subnet'], 'a range such as 10.1.0.0/16');
  const longest = subnet.family === 4 ? 30 : 126;
  if (subnet.length > longest) throw wrong(`${at}.subnet`, text, `/${longest} or wider: it has no room`);
  if (subnet.value !== tryParseAddress(text.split('/')[0] ?? '')?.value)
    throw wrong(`${at}.subnet`, text, 'a network: it has bits set beyond its length');
  const inside = (key: string, fallback: string): string => {
    const given = textOf(fields[key], `${at}.${key}`);
    if (given === undefined) return fallback;
    const address = tryParseAddress(given);
    if (!address || !contains(subnet, address)) throw wrong(`${at}.${key}`, given, `an address of ${text}`);
    return formatAddress(address);
  };
  const second = formatAddress(nth(subnet, 1n) ?? lastOf(subnet));
  const end = lastOf(subnet);
  // The broadcast address of an IPv4 network is nobody's.
  const most = formatAddress(subnet.family === 4 ? { ...end, value: end.value - 1n } : end);
  const range = {
    subnet,
    first: inside('rangeStart', second),
    last: inside('rangeEnd', most),
    gateway: gatewayOf(fields['gateway'], `${at}.gateway`, second),
  };
  if (valueOf(range.first) > valueOf(range.last))
    throw wrong(`${at}.rangeStart`, range.first, `before rangeEnd ${range.last}`);
  return range;
}

/** May be outside of its subnet: some networks have it so. */
function gatewayOf(value: unknown, at: string, fallback: string): string {
  const given = textOf(value, at);
  if (given === undefined) return fallback;
  const address = tryParseAddress(given);
  if (!address) throw wrong(at, value, 'an address');
  return formatAddress(address);
}
