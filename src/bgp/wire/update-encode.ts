/** UPDATE messages, written: as many prefixes to a message as fit. */
import { parseAddress, toBytes } from '../../lib/ip.ts';
import { encodeAsPath, needsFourOctets } from './as-path.ts';
import { type NextHop, origins, type PathAttributes } from './attributes.ts';
import {
  type AddressFamily,
  AFI,
  AS_TRANS,
  ATTRIBUTE,
  HEADER_LENGTH,
  MAX_MESSAGE,
  MESSAGE,
  SAFI_UNICAST,
} from './codes.ts';
import { encodeMessage } from './message.ts';
import { encodePrefix } from './prefix.ts';

export interface EncodeContext {
  readonly fourOctetAs: boolean;
}

const WELL_KNOWN = 0x40;
const OPTIONAL = 0x80;
const OPTIONAL_TRANSITIVE = 0xc0;
/** Withdrawn routes' length and attributes' length. */
const FIXED = 4;

function attribute(flags: number, code: number, data: Uint8Array): Uint8Array {
  const header =
    data.length > 255
      ? Uint8Array.of(flags | 0x10, code, data.length >> 8, data.length & 255)
      : Uint8Array.of(flags, code, data.length);
  return Buffer.concat([header, data]);
}

function u32(...values: number[]): Buffer {
  const out = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => out.writeUInt32BE(value >>> 0, 4 * i));
  return out;
}

const addressBytes = (text: string): Uint8Array => toBytes(parseAddress(text));

function communityBytes(communities: readonly string[]): Buffer {
  const out = Buffer.alloc(4 * communities.length);
  communities.forEach((text, i) =>
    text.split(':').forEach((part, j) => out.writeUInt16BE(Number(part), 4 * i + 2 * j)),
  );
  return out;
}

/** In the order of their codes; without NEXT_HOP and MP_REACH, which belong to the prefixes. */
function attributeParts(
  path: PathAttributes,
  { fourOctetAs }: EncodeContext,
): { code: number; bytes: Uint8Array }[] {
  const parts: { code: number; bytes: Uint8Array }[] = [];
  const add = (flags: number, code: number, data: Uint8Array | undefined) => {
    if (data !== undefined) parts.push({ code, bytes: attribute(flags, code, data) });
  };
  const some = <T>(list: readonly T[] | undefined, encode: (list: readonly T[]) => Uint8Array) =>
    list && list.length > 0 ? encode(list) : undefined;
  add(WELL_KNOWN, ATTRIBUTE.ORIGIN, Uint8Array.of(origins.indexOf(path.origin)));
  add(WELL_KNOWN, ATTRIBUTE.AS_PATH, encodeAsPath(path.asPath, fourOctetAs ? 4 : 2));
  add(OPTIONAL, ATTRIBUTE.MED, path.med === undefined ? undefined : u32(path.med));
  add(WELL_KNOWN, ATTRIBUTE.LOCAL_PREF, path.localPref === undefined ? undefined : u32(path.localPref));
  if (path.atomicAggregate) add(WELL_KNOWN, ATTRIBUTE.ATOMIC_AGGREGATE, new Uint8Array());
  addAggregator(path, fourOctetAs, add);
  add(OPTIONAL_TRANSITIVE, ATTRIBUTE.COMMUNITIES, some(path.communities, communityBytes));
  add(
    OPTIONAL,
    ATTRIBUTE.ORIGINATOR_ID,
    path.originatorId === undefined ? undefined : addressBytes(path.originatorId),
  );
  add(
    OPTIONAL,
    ATTRIBUTE.CLUSTER_LIST,
    some(path.clusterList, (ids) => Buffer.concat(ids.map(addressBytes))),
  );
  const extended = some(path.extendedCommunities, (list) => Buffer.from(list.join(''), 'hex'));
  add(OPTIONAL_TRANSITIVE, ATTRIBUTE.EXTENDED_COMMUNITIES, extended);
  if (!fourOctetAs && needsFourOctets(path.asPath))
    add(OPTIONAL_TRANSITIVE, ATTRIBUTE.AS4_PATH, encodeAsPath(path.asPath, 4));
  const large = some(path.largeCommunities, (list) =>
    u32(...list.flatMap((text) => text.split(':').map(Number))),
  );
  add(OPTIONAL_TRANSITIVE, ATTRIBUTE.LARGE_COMMUNITIES, large);
  for (const { code, flags, data } of path.unknown ?? []) add(flags, code, data);
  return parts.toSorted((a, b) => a.code - b.code);
}

function addAggregator(
  { aggregator }: PathAttributes,
  fourOctetAs: boolean,
  add: (flags: number, code: number, data: Uint8Array) => void,
): void {
  if (!aggregator) return;
  const address = addressBytes(aggregator.address);
  const full = Buffer.concat([u32(aggregator.as), address]);
  if (fourOctetAs) return add(OPTIONAL_TRANSITIVE, ATTRIBUTE.AGGREGATOR, full);
  const as = aggregator.as > 0xffff ? AS_TRANS : aggregator.as;
  add(OPTIONAL_TRANSITIVE, ATTRIBUTE.AGGREGATOR, Buffer.concat([Uint8Array.of(as >> 8, as & 255), address]));
  if (aggregator.as > 0xffff) add(OPTIONAL_TRANSITIVE, ATTRIBUTE.AS4_AGGREGATOR, full);
}

export interface Announce {
  readonly family: AddressFamily;
  readonly nextHop: NextHop;
  readonly attributes: PathAttributes;
  readonly prefixes: readonly string[];
}

/** Empty where not one prefix fits beside the attributes: such a route cannot be told (RFC 4271 section 9.2). */
export function encodeAnnouncement(
  { family, nextHop, attributes, prefixes }: Announce,
  context: EncodeContext,
): Uint8Array[] {
  const parts = attributeParts(attributes, context);
  const plain = family === 'ipv4' && !nextHop.address.includes(':');
  if (plain) {
    const hop = {
      code: ATTRIBUTE.NEXT_HOP,
      bytes: attribute(WELL_KNOWN, ATTRIBUTE.NEXT_HOP, addressBytes(nextHop.address)),
    };
    const list = Buffer.concat([...parts, hop].toSorted((a, b) => a.code - b.code).map(({ bytes }) => bytes));
    const room = MAX_MESSAGE - HEADER_LENGTH - FIXED - list.length;
    return chunks(prefixes, room).map((chunk) => message(new Uint8Array(), list, chunk));
  }
  const rest = Buffer.concat(parts.map(({ bytes }) => bytes));
  const hop = Buffer.concat([nextHop.address, nextHop.linkLocal ?? []].flat().map(addressBytes));
  const header = Buffer.concat([
    Uint8Array.of(0, AFI[family], SAFI_UNICAST, hop.length),
    hop,
    Uint8Array.of(0),
  ]);
  const room = MAX_MESSAGE - HEADER_LENGTH - FIXED - rest.length - header.length - 4;
  // First, so that an error behind it leaves the prefixes known (RFC 7606 section 5.1).
  return chunks(prefixes, room).map((chunk) => {
    const reach = attribute(OPTIONAL, ATTRIBUTE.MP_REACH, Buffer.concat([header, chunk]));
    return message(new Uint8Array(), Buffer.concat([reach, rest]), new Uint8Array());
  });
}

export function encodeWithdrawal(family: AddressFamily, prefixes: readonly string[]): Uint8Array[] {
  const room = MAX_MESSAGE - HEADER_LENGTH - FIXED - 7;
  return chunks(prefixes, room).map((chunk) =>
    family === 'ipv4'
      ? message(chunk, new Uint8Array(), new Uint8Array())
      : message(new Uint8Array(), unreach(family, chunk), new Uint8Array()),
  );
}

/** RFC 4724 section 2. */
export const encodeEndOfRib = (family: AddressFamily): Uint8Array =>
  family === 'ipv4'
    ? message(new Uint8Array(), new Uint8Array(), new Uint8Array())
    : message(new Uint8Array(), unreach(family, new Uint8Array()), new Uint8Array());

const unreach = (family: AddressFamily, prefixes: Uint8Array): Uint8Array =>
  attribute(
    OPTIONAL,
    ATTRIBUTE.MP_UNREACH,
    Buffer.concat([Uint8Array.of(0, AFI[family], SAFI_UNICAST), prefixes]),
  );

function message(withdrawn: Uint8Array, attributes: Uint8Array, prefixes: Uint8Array): Uint8Array {
  const size = (part: Uint8Array) => Uint8Array.of(part.length >> 8, part.length & 255);
  const body = Buffer.concat([size(withdrawn), withdrawn, size(attributes), attributes, prefixes]);
  return encodeMessage(MESSAGE.UPDATE, body);
}

function chunks(prefixes: readonly string[], room: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  let current: Uint8Array[] = [];
  let used = 0;
  for (const prefix of prefixes) {
    const bytes = encodePrefix(prefix);
    if (bytes.length > room) return [];
    if (used + bytes.length > room) {
      out.push(Buffer.concat(current));
      [current, used] = [[], 0];
    }
    current.push(bytes);
    used += bytes.length;
  }
  if (current.length > 0) out.push(Buffer.concat(current));
  return out;
}
