/** Which source an attachment's addresses come from, by `ipam` of the configuration. */
import { contains, formatAddress, nth, parseCidr, tryParseAddress } from '../../lib/ip.ts';
import { isObject } from '../../lib/json.ts';
import { CniCode, CniError } from '../error.ts';
import type { Attachment, CniRequest } from '../types.ts';
import type { Wishes } from '../wishes.ts';
import { type DhcpConfig, dhcpOf } from './dhcp/config.ts';
import { hostLocalOf } from './host-local-config.ts';
import { holdsHostLocal, obtainHostLocal, releaseHostLocal } from './host-local.ts';
import { unsupported } from './read.ts';
import { staticLease } from './static.ts';
import { type Lease, type LeasedAddress, NO_LEASE, type SavedSource } from './types.ts';

/** Leases of DHCP servers, kept while the attachment is there. */
export interface DhcpLeases {
  /** The container's link is up. @throws CniError */
  obtain(attachment: Attachment, link: { netns: string }, config: DhcpConfig): Promise<Lease>;
  /** Tells the server, if the link is still there. */
  release(attachment: Attachment): Promise<void>;
  /** What is wrong with the lease, in words. */
  faults(attachment: Attachment): string[];
}

export interface SourceDeps {
  /** Ranges of our own pool. */
  readonly ranges: () => readonly string[];
  readonly dhcp: DhcpLeases;
}

export interface Source {
  readonly saved: SavedSource;
  /** It asks over the container's link, which must be up. */
  readonly needsLink: boolean;
  /** @param own what our own pool gave; nothing for the other sources */
  obtain(own: readonly string[]): Promise<Lease>;
}

const TYPES = ['heddle', 'host-local', 'static', 'dhcp'];

/** Reads and checks; nothing has been taken yet. @throws CniError */
export function sourceOf(request: CniRequest, wishes: Wishes, deps: SourceDeps, routed: boolean): Source {
  const ipam = request.config['ipam'] ?? { type: 'heddle' };
  if (!isObject(ipam)) throw unsupported('ipam', ipam, 'expected an object');
  const type = ipam['type'];
  // An empty object: a link without addresses, as runtimes write it.
  if (type === undefined || type === '')
    return { saved: { type: 'none' }, needsLink: false, obtain: async () => NO_LEASE };
  if (type === 'heddle')
    return {
      saved: { type: 'own' },
      needsLink: false,
      obtain: async (own) => ownLease(own, deps.ranges(), routed),
    };
  if (type === 'static') {
    const lease = staticLease(request);
    return { saved: { type: 'static' }, needsLink: false, obtain: async () => lease };
  }
  if (type === 'host-local') {
    const config = hostLocalOf(request);
    return {
      saved: { type: 'host-local', folder: config.folder },
      needsLink: false,
      obtain: () => obtainHostLocal(config, request, wishes.addresses),
    };
  }
  if (type === 'dhcp') {
    if (wishes.addresses.length > 0)
      throw unsupported('ips', wishes.addresses, 'the DHCP server chooses the address');
    const config = dhcpOf(request);
    return {
      saved: { type: 'dhcp' },
      needsLink: true,
      obtain: () => deps.dhcp.obtain(request, { netns: request.netns }, config),
    };
  }
  throw unsupported('ipam.type', type, `expected one of ${TYPES.join(', ')}`);
}

/** Nothing happens where nothing is held. */
export async function releaseSource(
  saved: SavedSource | undefined,
  attachment: Attachment,
  dhcp: DhcpLeases | undefined,
): Promise<void> {
  if (saved?.type === 'host-local') await releaseHostLocal(saved.folder, attachment);
  if (saved?.type === 'dhcp') await dhcp?.release(attachment);
}

/** What of a lease is not there any more, in words. */
export function sourceFaults(
  saved: SavedSource | undefined,
  attachment: Attachment,
  { addresses, dhcp }: { addresses: readonly string[]; dhcp: DhcpLeases | undefined },
): string[] {
  if (saved?.type === 'dhcp') return dhcp?.faults(attachment) ?? [];
  if (saved?.type !== 'host-local') return [];
  const held = new Set(holdsHostLocal(saved.folder, attachment));
  return addresses
    .map((address) => address.split('/')[0] ?? '')
    .filter((address) => !held.has(address))
    .map((address) => `host-local does not hold ${address} for it any more`);
}

function ownLease(own: readonly string[], ranges: readonly string[], routed: boolean): Lease {
  const addresses: LeasedAddress[] = own.map((text) => {
    const parsed = tryParseAddress(text);
    const range = ranges.map(parseCidr).find((cidr) => parsed && contains(cidr, parsed));
    if (!range) throw new CniError(CniCode.failed, `${text} is in none of ${ranges.join(', ')}`);
    // The first address of a range is never given: it is the gateway's.
    const gateway = formatAddress(nth(range, 1n) ?? range);
    return { address: `${text}/${range.length}`, ...(routed ? { gateway } : {}) };
  });
  const routes = addresses.flatMap(({ gateway }) =>
    gateway === undefined ? [] : [{ dst: gateway.includes(':') ? '::/0' : '0.0.0.0/0', gw: gateway }],
  );
  return { addresses, routes, dns: {} };
}
