/** The file of `heddle agent --standalone`: `kind: StandaloneAgent`, from YAML or JSON. */
import { isAbsolute } from 'node:path';
import { parseDocument } from 'yaml';
import { errorText, HeddleError } from '../../lib/errors.ts';
import {
  type Cidr,
  contains,
  formatCidr,
  tryCanonical,
  tryParseAddress,
  tryParseCidr,
} from '../../lib/ip.ts';
import { isObject } from '../../lib/json.ts';
import type { DnsConfig } from './dns.ts';

const API_VERSION = 'heddle.dev/v1alpha1';
const KIND = 'StandaloneAgent';

export const DEFAULT_SOCKET = '/run/heddle/cni.sock';
export const DEFAULT_STATE = '/var/lib/heddle/cni';
const DEFAULT_MTU = 1500;
/** The first two and, of IPv4, the last address are never given. */
const SMALLEST = { 4: 29, 6: 125 } as const;

export interface StandaloneConfig {
  readonly name: string;
  /** One per family, IPv4 first; canonical. */
  readonly podRanges: readonly string[];
  /** Addresses of the ranges that are never given to a container. */
  readonly reserved: readonly string[];
  /** What the machine sends to containers from, one per family at most; the kernel chooses where there is none. */
  readonly nodeAddresses: readonly string[];
  readonly mtu: number;
  /** Containers appear outside of their ranges with the machine's own address. */
  readonly masquerade: boolean;
  readonly socket: string;
  readonly stateDir: string;
  /** Names of containers are answered in `domain`; not at all where it is undefined. */
  readonly dns: DnsConfig | undefined;
  /** Where metrics are served beside the socket: an address of the loopback. */
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  /** Where the plugin and its list are put when the agent starts; nowhere without. */
  readonly install: { readonly binDir: string; readonly confDir: string } | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** @param file what to call it in errors. @throws HeddleError `BadAgentConfig` with every problem that was found */
export function parseStandaloneConfig(text: string, file: string): StandaloneConfig {
  const problems: string[] = [];
  const root = readYaml(text, file);
  if (!isObject(root)) throw bad(file, ['expected an object']);
  if (root['apiVersion'] !== API_VERSION || root['kind'] !== KIND)
    throw bad(file, [`expected apiVersion: ${API_VERSION} and kind: ${KIND}`]);
  unknownFields(root, ['apiVersion', 'kind', 'metadata', 'spec'], '', problems);
  const name = isObject(root['metadata']) ? root['metadata']['name'] : undefined;
  if (typeof name !== 'string' || !/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/.test(name))
    problems.push(
      'metadata.name: expected the name of the network: letters, digits, "_", "." and "-", at most 63',
    );
  const spec = isObject(root['spec']) ? root['spec'] : {};
  if (!isObject(root['spec'])) problems.push('spec: expected an object');
  const config = { name: String(name), ...readSpec(spec, problems) };
  if (problems.length > 0) throw bad(file, problems);
  return config;
}

function readSpec(spec: Fields, problems: string[]): Omit<StandaloneConfig, 'name'> {
  unknownFields(
    spec,
    [
      'podRanges',
      'reserved',
      'nodeAddresses',
      'mtu',
      'masquerade',
      'socket',
      'stateDir',
      'metrics',
      'dns',
      'binDir',
      'confDir',
    ],
    'spec.',
    problems,
  );
  const ranges = readRanges(spec['podRanges'], problems);
  const path = (key: string, fallback: string): string => readPath(spec[key] ?? fallback, key, problems);
  const { binDir, confDir } = spec;
  if ((binDir === undefined) !== (confDir === undefined))
    problems.push('spec: binDir and confDir belong together: where the plugin goes, and where its list goes');
  return {
    podRanges: ranges.map(formatCidr),
    reserved: readReserved(spec['reserved'], ranges, problems),
    nodeAddresses: readNodeAddresses(spec['nodeAddresses'], ranges, problems),
    mtu: readMtu(spec['mtu'], problems),
    masquerade: readBoolean(spec['masquerade'], 'masquerade', problems),
    socket: path('socket', DEFAULT_SOCKET),
    stateDir: path('stateDir', DEFAULT_STATE),
    metrics: readMetrics(spec['metrics'], problems),
    dns: readDns(spec['dns'], problems),
    install:
      binDir === undefined || confDir === undefined
        ? undefined
        : { binDir: path('binDir', ''), confDir: path('confDir', '') },
  };
}

function readRanges(value: unknown, problems: string[]): Cidr[] {
  const at = 'spec.podRanges';
  if (!Array.isArray(value) || value.length === 0 || value.length > 2) {
    problems.push(
      `${at}: expected one range per family, such as [10.88.0.0/16, "fd00:88::/64"], got ${show(value)}`,
    );
    return [];
  }
  const ranges: Cidr[] = [];
  for (const [index, text] of value.entries()) {
    const range = typeof text === 'string' ? tryParseCidr(text) : undefined;
    if (!range)
      problems.push(`${at}[${index}]: ${show(text)} is no range; expected one such as 10.88.0.0/16`);
    else if (range.length > SMALLEST[range.family])
      problems.push(
        `${at}[${index}]: ${show(text)} is too small; expected /${SMALLEST[range.family]} or wider`,
      );
    else if (ranges.some(({ family }) => family === range.family))
      problems.push(
        `${at}[${index}]: ${show(text)} is the second of IPv${range.family}; expected one per family`,
      );
    else ranges.push(range);
  }
  return ranges.toSorted((a, b) => a.family - b.family);
}

function readReserved(value: unknown, ranges: readonly Cidr[], problems: string[]): string[] {
  return readAddresses(value, 'reserved', problems).filter((text, index) => {
    const address = tryParseAddress(text);
    if (address && ranges.some((range) => contains(range, address))) return true;
    problems.push(`spec.reserved[${index}]: ${text} is in none of podRanges`);
    return false;
  });
}

function readNodeAddresses(value: unknown, ranges: readonly Cidr[], problems: string[]): string[] {
  const seen = new Set<boolean>();
  return readAddresses(value, 'nodeAddresses', problems).filter((text, index) => {
    const address = tryParseAddress(text);
    const six = text.includes(':');
    if (address && ranges.some((range) => contains(range, address)))
      problems.push(`spec.nodeAddresses[${index}]: ${text} is in podRanges, where containers get theirs`);
    if (seen.has(six))
      problems.push(`spec.nodeAddresses[${index}]: ${text} is the second of its family; expected one`);
    seen.add(six);
    return true;
  });
}

function readAddresses(value: unknown, key: string, problems: string[]): string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    problems.push(`spec.${key}: expected a list of addresses, got ${show(value)}`);
    return [];
  }
  return value.flatMap((text: unknown, index) => {
    const address = typeof text === 'string' ? tryCanonical(text) : undefined;
    if (address) return [address.text];
    problems.push(`spec.${key}[${index}]: ${show(text)} is no address`);
    return [];
  });
}

function readMtu(value: unknown, problems: string[]): number {
  if (value === undefined) return DEFAULT_MTU;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1280 && value <= 65_535) return value;
  problems.push(`spec.mtu: ${show(value)} is no whole number from 1280 to 65535`);
  return DEFAULT_MTU;
}

function readBoolean(value: unknown, key: string, problems: string[]): boolean {
  if (value !== undefined && typeof value !== 'boolean')
    problems.push(`spec.${key}: ${show(value)}; expected true or false`);
  return value !== false;
}

/** Counters say who runs here and how much: nobody beyond the machine is told. */
function readMetrics(value: unknown, problems: string[]): StandaloneConfig['metrics'] {
  if (value === undefined) return undefined;
  const [, six, four, digits] =
    /^(?:\[([0-9a-f:]+)\]|([0-9.]+)):(\d{1,5})$/i.exec(typeof value === 'string' ? value : '') ?? [];
  const host = tryCanonical(six ?? four ?? '')?.text;
  const port = Number(digits);
  if (host !== undefined && (host === '::1' || host.startsWith('127.')) && port > 0 && port < 65_536)
    return { host, port };
  problems.push(
    `spec.metrics: ${show(value)}; expected an address of the loopback and a port, such as 127.0.0.1:9469`,
  );
  return undefined;
}

function readDns(value: unknown, problems: string[]): DnsConfig | undefined {
  if (value === undefined) return undefined;
  if (!isObject(value)) {
    problems.push(`spec.dns: ${show(value)}; expected fields such as {domain: dns.heddle}`);
    return undefined;
  }
  unknownFields(value, ['domain', 'servers'], 'spec.dns.', problems);
  const { domain = 'dns.heddle', servers } = value;
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
  const good =
    typeof domain === 'string' && domain.length < 200 && new RegExp(`^${label}([.]${label})*$`).test(domain);
  if (!good) problems.push(`spec.dns.domain: ${show(domain)}; expected a domain such as dns.heddle`);
  return {
    domain: String(domain),
    servers: servers === undefined ? undefined : readAddresses(servers, 'dns.servers', problems),
  };
}

function readPath(value: unknown, key: string, problems: string[]): string {
  if (typeof value === 'string' && isAbsolute(value) && value !== '/' && !value.includes('\0')) {
    // sun_path of struct sockaddr_un, with its NUL.
    if (key === 'socket' && Buffer.byteLength(value) > 107)
      problems.push(`spec.socket: ${value} is longer than 107 bytes, the most a socket's path may have`);
    return value;
  }
  problems.push(`spec.${key}: ${show(value)}; expected an absolute path`);
  return '';
}

const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

function unknownFields(value: Fields, known: readonly string[], at: string, problems: string[]): void {
  for (const key of Object.keys(value))
    if (!known.includes(key)) problems.push(`${at}${key}: unknown; expected one of ${known.join(', ')}`);
}

function readYaml(text: string, file: string): unknown {
  try {
    const document = parseDocument(text, { prettyErrors: true, stringKeys: true });
    const [error] = document.errors;
    if (error) throw bad(file, [error.message.split('\n')[0] ?? '']);
    return document.toJS({ maxAliasCount: 20 });
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    throw bad(file, [errorText(error)]);
  }
}

const bad = (file: string, problems: readonly string[]): HeddleError =>
  new HeddleError('BadAgentConfig', `${file}: ${problems.join('; ')}`, {
    hint: 'examples/cni/agent.yaml is one with every field',
  });
