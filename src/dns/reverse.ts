/** Reverse names: `1.0.96.10.in-addr.arpa` (RFC 1035 section 3.5), nibbles below `ip6.arpa` (RFC 3596 section 2.5). */
import { type Cidr, contains, formatAddress, fromBytes, parseCidr, toBytes } from '../lib/ip.ts';

const V4 = '.in-addr.arpa';
const V6 = '.ip6.arpa';

/** The canonical address a reverse name stands for; undefined where it is no name of a whole address. */
export function addressOf(name: string): string | undefined {
  if (name.endsWith(V4)) return octets(name.slice(0, -V4.length).split('.'));
  if (name.endsWith(V6)) return nibbles(name.slice(0, -V6.length).split('.'));
  return undefined;
}

function octets(labels: string[]): string | undefined {
  if (labels.length !== 4) return undefined;
  const good = labels.every((label) => /^(0|[1-9]\d{0,2})$/.test(label) && Number(label) < 256);
  return good ? labels.reverse().join('.') : undefined;
}

function nibbles(labels: string[]): string | undefined {
  if (labels.length !== 32 || !labels.every((label) => /^[0-9a-f]$/.test(label))) return undefined;
  return formatAddress(fromBytes(Buffer.from(labels.reverse().join(''), 'hex')));
}

/** Labels of a range's network address, least significant first, whole units of `length` only. */
function labels(cidr: Cidr): string[] {
  const bytes = [...toBytes(cidr)];
  if (cidr.family === 4)
    return bytes
      .slice(0, cidr.length >> 3)
      .map(String)
      .reverse();
  const hex = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex
    .slice(0, cidr.length >> 2)
    .split('')
    .reverse();
}

/** The names below which a range's addresses have their reverse names, as one zone cut at a whole label. */
const zoneOf = (cidr: Cidr): string =>
  [...labels(cidr), cidr.family === 4 ? 'in-addr.arpa' : 'ip6.arpa'].join('.');

export interface ReverseZones {
  /** The zone that `name` belongs to, if it is one of ours. */
  zone(name: string): string | undefined;
}

/** @throws HeddleError `BadCidr` */
export function createReverseZones(ranges: readonly string[]): ReverseZones {
  const zones = ranges.map((range) => {
    const cidr = parseCidr(range);
    return { cidr, zone: zoneOf(cidr) };
  });
  return {
    zone(name) {
      if (!name.endsWith('.arpa')) return undefined;
      const under = zones.filter(({ zone }) => name === zone || name.endsWith(`.${zone}`));
      const text = under.length > 0 ? addressOf(name) : undefined;
      if (text === undefined) return under[0]?.zone;
      // A range that ends within a label shares its zone with addresses that are not ours.
      const family = text.includes(':') ? 128 : 32;
      const address = parseCidr(`${text}/${family}`);
      return under.find(({ cidr }) => contains(cidr, address))?.zone;
    },
  };
}
