/**
 * What a runtime asks for beside an interface: the capabilities of `runtimeConfig`, `args.cni` of the configuration and
 * the older CNI_ARGS, in this order of precedence. Whatever cannot be done is refused with the field and its value.
 */
import type { Span } from '../ipam/pool.ts';
import { isObject } from '../lib/json.ts';
import {
  contains,
  firstOf,
  formatAddress,
  lastOf,
  tryCanonical,
  tryParseAddress,
  tryParseCidr,
} from '../lib/ip.ts';
import type { Bandwidth } from './bandwidth.ts';
import { CniCode, CniError } from './error.ts';
import { type PortMapping, portText } from './host-ports.ts';
import { mainKindOf } from './main/config.ts';
import type { CniRequest, Dns, NetConf } from './types.ts';

export interface Wishes {
  readonly mtu: number | undefined;
  readonly mac: string | undefined;
  /** Canonical, without prefix length. */
  readonly addresses: readonly string[];
  readonly ranges: readonly Span[] | undefined;
  readonly ports: readonly PortMapping[];
  readonly bandwidth: Bandwidth | undefined;
  readonly dns: Dns;
  readonly aliases: readonly string[];
}

/** What is said of a pod's addresses elsewhere than in the request. */
export interface PodWishes {
  /** Names of pools, by family. */
  readonly pools?: Readonly<Record<4 | 6, string>>;
  readonly addresses?: readonly string[];
  /** Milliseconds for which its addresses wait for it. */
  readonly sticky?: number;
}

type Fields = Readonly<Record<string, unknown>>;

const CAPABILITIES = ['portMappings', 'bandwidth', 'ips', 'mac', 'dns', 'ipRanges', 'aliases'];
/** Of the container's control group: for those who need it. Nothing is asked of anybody. */
const IGNORED = ['cgroupPath'];

/** @throws CniError unsupportedField, invalidConfig */
export function wishesOf({ config, args }: CniRequest): Wishes {
  const runtime = fieldsOf(config.runtimeConfig, 'runtimeConfig');
  for (const [key, value] of Object.entries(runtime))
    if (![...CAPABILITIES, ...IGNORED].includes(key)) throw unsupported(`runtimeConfig.${key}`, value);
  if (mainKindOf(config) === undefined) refuseMainFields(config);
  const given = fieldsOf(fieldsOf(config['args'], 'args')['cni'], 'args.cni');
  return {
    mtu: mtuOf(config['mtu']),
    mac: macOf(runtime['mac'] ?? given['mac'] ?? args['MAC']),
    addresses: addressesOf(runtime['ips'] ?? given['ips'] ?? args['IP']?.split(',')),
    ranges: rangesOf(runtime['ipRanges']),
    ports: listOf(runtime['portMappings'], 'portMappings').flatMap(portOf),
    bandwidth: bandwidthOf(runtime['bandwidth'] ?? config['bandwidth']),
    dns: dnsOf(runtime['dns'], config.dns),
    aliases: aliasesOf(runtime['aliases'], config.name),
  };
}

/** Of other ways to connect a container than Heddle's own. */
function refuseMainFields(config: NetConf): void {
  for (const key of ['ipam', 'ipMasq']) {
    const value = config[key];
    if (value === undefined || value === false || isEmpty(value)) continue;
    if (isObject(value) && value['type'] === 'heddle') continue;
    throw unsupported(key, value);
  }
}

const unsupported = (key: string, value: unknown): CniError =>
  new CniError(CniCode.unsupportedField, `${key} ${JSON.stringify(value)} is not supported by heddle-cni`);

const wrong = (key: string, value: unknown, expected: string): CniError =>
  new CniError(CniCode.invalidConfig, `${key} ${JSON.stringify(value)} is not ${expected}`);

const isEmpty = (value: unknown): boolean => isObject(value) && Object.keys(value).length === 0;

function fieldsOf(value: unknown, key: string): Fields {
  if (value === undefined || value === null) return {};
  if (isObject(value)) return value;
  throw wrong(key, value, 'an object');
}

function listOf(value: unknown, key: string): unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw wrong(key, value, 'a list');
}

function mtuOf(value: unknown): number | undefined {
  if (value === undefined || value === 0) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1280 && value <= 65_535) return value;
  throw wrong('mtu', value, 'a whole number from 1280 to 65535');
}

function macOf(value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  const expected = 'a unicast MAC address such as 02:00:00:00:00:01';
  if (typeof value !== 'string' || !/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(value))
    throw wrong('mac', value, expected);
  const mac = value.toLowerCase().replaceAll('-', ':');
  if ((Number.parseInt(mac.slice(0, 2), 16) & 1) === 1 || mac === '00:00:00:00:00:00')
    throw wrong('mac', value, expected);
  return mac;
}

/** With or without a prefix length: ours is always /32 or /128. */
function addressesOf(value: unknown): string[] {
  return listOf(value, 'ips')
    .filter((text) => text !== '')
    .map((text) => {
      const address = typeof text === 'string' ? tryCanonical(text.split('/')[0] ?? '') : undefined;
      if (!address) throw wrong('ips', text, 'an address such as 10.0.0.5 or fd00::5');
      return address.text;
    });
}

function rangesOf(value: unknown): Span[] | undefined {
  const sets = listOf(value, 'ipRanges');
  return sets.length === 0 ? undefined : sets.flatMap((set) => listOf(set, 'ipRanges').map(spanOf));
}

function spanOf(value: unknown): Span {
  const { subnet, rangeStart, rangeEnd } = fieldsOf(value, 'ipRanges');
  const cidr = typeof subnet === 'string' ? tryParseCidr(subnet) : undefined;
  if (!cidr) throw wrong('ipRanges', value, 'a range with a subnet such as 10.0.0.0/24');
  const end = (given: unknown, fallback: string): string => {
    if (given === undefined || given === '') return fallback;
    const address = typeof given === 'string' ? tryParseAddress(given) : undefined;
    if (!address || !contains(cidr, address))
      throw wrong('ipRanges', given, `an address of ${String(subnet)}`);
    return formatAddress(address);
  };
  return {
    first: end(rangeStart, formatAddress(firstOf(cidr))),
    last: end(rangeEnd, formatAddress(lastOf(cidr))),
  };
}

/** Names of fields are taken in any case: containerd writes them as Go does. A host port 0 asks for nothing. */
function portOf(value: unknown): PortMapping[] {
  const entries = Object.entries(fieldsOf(value, 'portMappings'));
  const fields = Object.fromEntries(entries.map(([key, field]) => [key.toLowerCase(), field]));
  const { hostport, containerport, protocol = 'tcp', hostip } = fields;
  if (hostport === 0 || hostport === undefined) return [];
  const named = typeof protocol === 'string' ? protocol.toLowerCase() || 'tcp' : '';
  if (named !== 'tcp' && named !== 'udp' && named !== 'sctp')
    throw wrong('portMappings', value, 'a mapping of tcp, udp or sctp');
  if (!isPort(hostport) || !isPort(containerport))
    throw wrong('portMappings', value, 'a mapping from a port to a port, 1 to 65535');
  const hostIP = hostIpOf(hostip, value);
  return [
    {
      hostPort: hostport,
      containerPort: containerport,
      protocol: named,
      ...(hostIP === undefined ? {} : { hostIP }),
    },
  ];
}

const isPort = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 65_535;

function hostIpOf(value: unknown, mapping: unknown): string | undefined {
  if (value === undefined || value === '' || value === null) return undefined;
  const address = typeof value === 'string' ? tryCanonical(value) : undefined;
  if (!address) throw wrong('portMappings', mapping, 'a mapping whose hostIP is an address');
  return address.text;
}

const RATES = ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'] as const;
/** tbf counts bytes a second in 64 bits and bursts in 32; beyond is no limit at all. */
const MOST_BITS = 1e15;

function bandwidthOf(value: unknown): Bandwidth | undefined {
  const fields = fieldsOf(value, 'bandwidth');
  const limits: Partial<Record<(typeof RATES)[number], number>> = {};
  for (const key of RATES) {
    const limit = fields[key];
    if (limit === undefined || limit === 0) continue;
    if (typeof limit !== 'number' || !(limit >= 8) || !(limit <= MOST_BITS || key.endsWith('Burst')))
      throw wrong(`bandwidth.${key}`, limit, 'bits per second (bits for a burst) from 8 to 10^15');
    limits[key] = limit;
  }
  for (const way of ['ingress', 'egress'] as const)
    if (limits[`${way}Burst`] !== undefined && limits[`${way}Rate`] === undefined)
      throw wrong(`bandwidth.${way}Burst`, limits[`${way}Burst`], `of use without ${way}Rate`);
  return Object.keys(limits).length === 0 ? undefined : limits;
}

/** The capability has names of its own for the same. */
function dnsOf(value: unknown, configured: Dns | undefined): Dns {
  const { servers, searches, options } = fieldsOf(value, 'dns');
  const texts = (list: unknown, key: string): string[] | undefined => {
    const items = listOf(list, `dns.${key}`);
    if (items.some((item) => typeof item !== 'string')) throw wrong(`dns.${key}`, list, 'a list of texts');
    return items.length === 0 ? undefined : items.map(String);
  };
  const asked = {
    nameservers: texts(servers, 'servers'),
    search: texts(searches, 'searches'),
    options: texts(options, 'options'),
  };
  return {
    ...configured,
    ...Object.fromEntries(Object.entries(asked).filter(([, list]) => list !== undefined)),
  };
}

/** A list, or, as podman passes them, lists by network. */
function aliasesOf(value: unknown, network: string | undefined): string[] {
  const list = isObject(value) ? value[network ?? ''] : value;
  return listOf(list, 'aliases').map(aliasOf);
}

function aliasOf(value: unknown): string {
  if (typeof value === 'string' && /^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?\.?$/i.test(value)) return value;
  throw wrong('aliases', value, 'a name of a host');
}

/** Two mappings of one request must not be of the same host port. @throws CniError invalidConfig */
export function checkPorts(ports: readonly PortMapping[]): void {
  const seen = new Set<string>();
  for (const port of ports) {
    const text = portText(port);
    if (seen.has(text)) throw wrong('portMappings', text, 'given once: the host port is there twice');
    seen.add(text);
  }
}
