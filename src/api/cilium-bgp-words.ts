/** Words of Cilium's BGP control plane, and checks that its kinds share. */
import { tryParseAddress, tryParseCidr } from '../lib/ip.ts';
import { duplicate, forbidden, invalid, type Problems, required, tooLong, tooMany } from './field-error.ts';

/**
 * Annotation of a CiliumBGPPeerConfig: ranges, comma-separated, in which routes that the peer tells are put into the
 * node's table. `0.0.0.0/0,::/0` is everything. Without it nothing is, as with Cilium.
 */
export const BGP_IMPORT = 'heddle.dev/bgp-import';
/** Where the Secrets of `authSecretRef` are. */
export const BGP_SECRETS = 'kube-system';

/** RFC 1997 and those registered since, by the names that Cilium gives them. */
export const WELL_KNOWN_COMMUNITIES: Readonly<Record<string, string>> = {
  internet: '0:0',
  'planned-shut': '65535:0',
  'accept-own': '65535:1',
  'route-filter-translated-v4': '65535:2',
  'route-filter-v4': '65535:3',
  'route-filter-translated-v6': '65535:4',
  'route-filter-v6': '65535:5',
  'llgr-stale': '65535:6',
  'no-llgr': '65535:7',
  blackhole: '65535:666',
  'no-export': '65535:65281',
  'no-advertise': '65535:65282',
  'no-export-subconfed': '65535:65283',
  'no-peer': '65535:65284',
};

const MAX_NAME = 255;
const MAX_ASN = 4_294_967_295;
/** Reserved: RFC 7300, RFC 6793, RFC 7607. */
const NO_ASN: readonly number[] = [0, 23456, 65535, MAX_ASN];

export function* inRange(path: string, value: number | undefined, least: number, most: number): Problems {
  if (value === undefined) return;
  if (!Number.isInteger(value) || value < least || value > most)
    yield invalid(path, value, `must be between ${least} and ${most}, inclusive`);
}

export function* validAsn(path: string, value: number | undefined): Problems {
  if (value === undefined) return;
  if (NO_ASN.includes(value)) yield invalid(path, value, 'is reserved: nobody’s AS number');
  else yield* inRange(path, value, 1, MAX_ASN);
}

export function* validAddress(path: string, value: string | undefined, family?: 4 | 6): Problems {
  if (value === undefined) return;
  const address = tryParseAddress(value);
  if (!address || (family && address.family !== family))
    yield invalid(path, value, family === 4 ? 'must be a valid IPv4 address' : 'must be a valid IP address');
}

/** Names that are there, of 1 to 255 characters, each once. */
export function* namedOnce(path: string, items: readonly { name?: string }[]): Problems {
  const seen = new Set<string>();
  for (const [i, { name }] of items.entries()) {
    const at = `${path}[${i}].name`;
    if (!name) yield required(at);
    else if (name.length > MAX_NAME) yield tooLong(at, MAX_NAME);
    else if (seen.has(name)) yield duplicate(at, name);
    else seen.add(name);
  }
}

export function* sized(path: string, items: readonly unknown[] | undefined, most?: number): Problems {
  if (!items || items.length === 0) yield required(path, 'must have at least one item');
  else if (most !== undefined && items.length > most) yield tooMany(path, items.length, most);
}

/** The ranges of `BGP_IMPORT`; what is none among them is left out. */
export const importRanges = (annotations: Readonly<Record<string, string>> | undefined): string[] =>
  textsOf(annotations?.[BGP_IMPORT]).filter((text) => tryParseCidr(text) !== undefined);

export function* validImport(annotations: Readonly<Record<string, string>> | undefined): Problems {
  const path = `metadata.annotations[${BGP_IMPORT}]`;
  const value = annotations?.[BGP_IMPORT];
  if (value === undefined) return;
  if (textsOf(value).length === 0) yield invalid(path, value, 'must name ranges: 10.0.0.0/8,fd00::/8');
  for (const text of textsOf(value))
    if (!tryParseCidr(text)) yield invalid(path, text, 'must be a valid CIDR value, (e.g. 10.9.8.0/24)');
}

const textsOf = (value: string | undefined): string[] =>
  (value ?? '')
    .split(',')
    .map((text) => text.trim())
    .filter((text) => text !== '');

export const refused = (path: string, what: string) => forbidden(path, `${what} is not supported`);
