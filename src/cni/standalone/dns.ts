/**
 * The DNS of a standalone agent: it listens at the second address of each range, which no container is given, on the
 * machine's loopback. A file keeps which, so that a later start, or the purge, takes away what is not wanted any more.
 */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createChain } from '../../dns/chain.ts';
import { containers } from '../../dns/containers.ts';
import { answerErrors } from '../../dns/errors.ts';
import { forward } from '../../dns/forward.ts';
import { rotate } from '../../dns/rotate.ts';
import { createDnsServer, type DnsServer } from '../../dns/server.ts';
import type { Ipam } from '../../ipam/ipam.ts';
import type { Route } from '../../kernel/route.ts';
import { errnoCode, HeddleError } from '../../lib/errors.ts';
import { replaceFileNow } from '../../lib/files.ts';
import { formatAddress, nth, parseCidr, tryParseAddress } from '../../lib/ip.ts';
import type { Log } from '../../lib/log.ts';
import { setAside } from '../../lib/state-file.ts';
import { parseResolvConf } from '../leases/host-local.ts';
import { asHost } from '../main/inside.ts';
import type { OwnDns } from '../own-dns.ts';
import { createContainerNames } from './container-names.ts';

export const DNS_FILE = 'dns-addresses.json';
const LINK = 'lo';
const RESOLV_CONF = '/etc/resolv.conf';

export interface DnsConfig {
  readonly domain: string;
  /** Who is asked for other names; those of the machine's resolv.conf where undefined. */
  readonly servers: readonly string[] | undefined;
}

export interface AgentDnsDeps {
  readonly config: {
    readonly dns: DnsConfig | undefined;
    readonly podRanges: readonly string[];
    readonly stateDir: string;
  };
  readonly node: Route;
  readonly ipam: Ipam;
  readonly log: Log;
}

export interface AgentDns {
  /** For results. */
  readonly own: OwnDns;
  readonly server: DnsServer;
  /** The addresses go with it. */
  close(): void;
}

/** Where it listens: nowhere where none is asked for. */
export const dnsAddresses = ({ dns, podRanges }: Omit<AgentDnsDeps['config'], 'stateDir'>): string[] =>
  dns ? listeners(podRanges) : [];

const listeners = (podRanges: readonly string[]): string[] =>
  podRanges.map((range) => {
    const cidr = parseCidr(range);
    return formatAddress(nth(cidr, 1n) ?? cidr);
  });

interface Removal {
  readonly stateDir: string;
  /** Where its addresses are looked for if nothing says them. */
  readonly podRanges?: readonly string[];
  readonly log: Pick<Log, 'warn'>;
}

/** Undefined where none is asked for. @throws HeddleError `Netlink` */
export function openAgentDns({ config, node, ipam, log }: AgentDnsDeps): AgentDns | undefined {
  const { dns, stateDir } = config;
  if (!dns) {
    removeDnsAddresses(node, { ...config, log });
    return undefined;
  }
  const addresses = dnsAddresses(config);
  removeDnsAddresses(node, { ...config, log }, addresses);
  replaceFileNow(join(stateDir, DNS_FILE), JSON.stringify(addresses), 0o600);
  for (const address of addresses)
    node.replaceAddress(LINK, asHost(address), { nodad: true, noSource: true });
  const servers = (dns.servers ?? machinesServers()).filter((server) => !addresses.includes(server));
  const handler = createChain([
    answerErrors(log),
    rotate(),
    containers({ domain: dns.domain, names: createContainerNames(ipam) }),
    forward({ servers }),
  ]);
  return {
    own: { addresses, domain: dns.domain },
    server: createDnsServer({ addresses, port: 53, handler, log }),
    close: () => removeDnsAddresses(node, { ...config, log }),
  };
}

/** Those of an earlier run that are not `kept`; says which. */
export function removeDnsAddresses(
  node: Route,
  { stateDir, podRanges = [], log }: Removal,
  kept: readonly string[] = [],
): string[] {
  const file = join(stateDir, DNS_FILE);
  const old = addressesIn(file, log) ?? listeners(podRanges);
  const gone = old.filter((address) => !kept.includes(address) && node.deleteAddress(LINK, asHost(address)));
  rmSync(file, { force: true });
  return gone;
}

/** Nothing where there is no such file; undefined where it is damaged, and set aside. */
function addressesIn(file: string, log: Pick<Log, 'warn'>): string[] | undefined {
  try {
    const saved: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (Array.isArray(saved) && saved.every((each) => typeof each === 'string' && tryParseAddress(each)))
      return saved.map(String);
    throw new HeddleError('BadState', `${file} is no list of addresses`);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return [];
    setAside(file, {
      log,
      rebuilt: 'the addresses of the ranges in use are looked for on the link lo',
      error,
    });
    return undefined;
  }
}

function machinesServers(): string[] {
  try {
    return parseResolvConf(readFileSync(RESOLV_CONF, 'utf8')).nameservers ?? [];
  } catch {
    return [];
  }
}
