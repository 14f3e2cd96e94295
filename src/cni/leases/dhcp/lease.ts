/** What a server's ACK says about a network, in the words of CNI. */
import { formatAddress, fromBytes } from '../../../lib/ip.ts';
import type { CniRoute, Dns } from '../../types.ts';
import type { Lease } from '../types.ts';
import { addressAt, addressesIn, OPTION, type Told, u32Of } from './message.ts';

/** Seconds, as the server counts them; all ones is for ever. */
export interface Times {
  readonly lease: number;
  readonly renew: number;
  readonly rebind: number;
}

export const FOR_EVER = 0xffffffff;
/** A server that gives a lease of a second would have us ask all the time. */
const LEAST_LEASE = 2;

export interface Given extends Times {
  readonly server: string;
  readonly lease: number;
  readonly network: Lease;
}

/** Undefined where the message lacks what a lease needs: a server, an address, a time. */
export function givenBy({ address, options }: Told, priority?: number): Given | undefined {
  const server = addressesIn(options.get(OPTION.SERVER))[0];
  const lease = u32Of(options.get(OPTION.LEASE));
  if (server === undefined || lease === undefined || lease < LEAST_LEASE || address === '0.0.0.0')
    return undefined;
  const length = prefixOf(options.get(OPTION.MASK), address);
  if (length === undefined) return undefined;
  const [router] = addressesIn(options.get(OPTION.ROUTERS));
  return {
    ...timesOf(options, lease),
    server,
    network: {
      addresses: [{ address: `${address}/${length}`, ...(router === undefined ? {} : { gateway: router }) }],
      routes: routesOf(options, router).map((route) =>
        priority === undefined ? route : { ...route, priority },
      ),
      dns: dnsOf(options),
    },
  };
}

/** RFC 2131 section 4.4.5: half of it, and seven eighths, unless the server says others that make sense. */
function timesOf(options: Told['options'], lease: number): Times {
  if (lease === FOR_EVER) return { lease, renew: lease, rebind: lease };
  const rebind = u32Of(options.get(OPTION.T2)) ?? 0;
  const renew = u32Of(options.get(OPTION.T1)) ?? 0;
  const second = rebind > 1 && rebind < lease ? rebind : lease * 0.875;
  return {
    lease,
    renew: renew > 0 && renew < second ? renew : Math.min(lease * 0.5, second),
    rebind: second,
  };
}

/** Of a mask of ones and then zeros; the class of the address where there is none (RFC 2132 section 3.3). */
function prefixOf(mask: Buffer | undefined, address: string): number | undefined {
  if (mask === undefined) {
    const first = Number(address.split('.')[0]);
    return first < 128 ? 8 : first < 192 ? 16 : 24;
  }
  if (mask.length !== 4) return undefined;
  const bits = mask.readUInt32BE(0).toString(2).padStart(32, '0');
  return /^1+0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : undefined;
}

/** RFC 3442: with classless routes the routers of option 3 do not count. */
function routesOf(options: Told['options'], router: string | undefined): CniRoute[] {
  const classless = options.get(OPTION.ROUTES);
  if (classless && classless.length > 0) return classlessRoutes(classless);
  return router === undefined ? [] : [{ dst: '0.0.0.0/0', gw: router }];
}

/** A length, as many bytes of the destination as it needs, a router. What does not fit ends it. */
export function classlessRoutes(data: Buffer): CniRoute[] {
  const routes: CniRoute[] = [];
  for (let at = 0; at < data.length; ) {
    const length = data[at] ?? 33;
    const bytes = Math.ceil(length / 8);
    if (length > 32 || at + 1 + bytes + 4 > data.length) break;
    const network = Buffer.alloc(4);
    data.copy(network, 0, at + 1, at + 1 + bytes);
    const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
    network.writeUInt32BE((network.readUInt32BE(0) & mask) >>> 0);
    const gw = addressAt(data, at + 1 + bytes);
    const dst = `${formatAddress(fromBytes(network))}/${length}`;
    // A router of zeros: on the link itself.
    routes.push(gw === '0.0.0.0' ? { dst } : { dst, gw });
    at += 1 + bytes + 4;
  }
  return routes;
}

function dnsOf(options: Told['options']): Dns {
  const nameservers = addressesIn(options.get(OPTION.DNS));
  const domain = printable(options.get(OPTION.DOMAIN));
  const search = searchList(options.get(OPTION.SEARCH));
  return {
    ...(nameservers.length > 0 ? { nameservers } : {}),
    ...(domain === undefined ? {} : { domain }),
    ...(search.length > 0 ? { search } : {}),
  };
}

/** It goes into a resolv.conf: names only. */
function printable(data: Buffer | undefined): string | undefined {
  const text = data?.toString('latin1').replace(/\0+$/, '') ?? '';
  return isName(text) ? text : undefined;
}

const isName = (text: string): boolean => /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$/.test(text);

/** RFC 3397: names as in messages of DNS, with pointers into the option itself. */
export function searchList(data: Buffer | undefined): string[] {
  const names: string[] = [];
  if (!data) return names;
  for (let at = 0; at < data.length; ) {
    const read = nameAt(data, at);
    if (!read) break;
    if (isName(read.name)) names.push(read.name);
    at = read.next;
  }
  return names;
}

function nameAt(data: Buffer, start: number): { name: string; next: number } | undefined {
  const labels: string[] = [];
  let next: number | undefined;
  // Each pointer goes back, so that it ends.
  for (let at = start, lowest = start; ; ) {
    const length = data[at];
    if (length === undefined) return undefined;
    if (length === 0) return { name: labels.join('.'), next: next ?? at + 1 };
    if ((length & 0xc0) === 0xc0) {
      const target = ((length & 0x3f) << 8) | (data[at + 1] ?? 0);
      if (at + 1 >= data.length || target >= lowest) return undefined;
      next ??= at + 2;
      at = target;
      lowest = target;
    } else {
      if (length > 63 || at + 1 + length > data.length) return undefined;
      labels.push(data.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
  }
}
