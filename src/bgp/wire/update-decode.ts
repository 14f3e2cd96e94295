/** UPDATE messages, read (RFC 4271 section 4.3, RFC 4760, RFC 7606). */
import { formatAddress, fromBytes, parseAddress, toBytes } from '../../lib/ip.ts';
import {
  type AttributeProblem,
  type DecodeContext,
  type ReadAttributes,
  readAttributes,
} from './attribute-decode.ts';
import type { NextHop, PathAttributes } from './attributes.ts';
import { type AddressFamily, ATTRIBUTE, ERROR, familyOf, UPDATE_ERROR } from './codes.ts';
import { BgpError } from './notification.ts';
import { decodePrefixes } from './prefix.ts';

export interface Announcement {
  readonly family: AddressFamily;
  readonly nextHop: NextHop;
  readonly prefixes: readonly string[];
}

export interface Update {
  /** Of both families; also what was announced with a broken attribute (treat-as-withdraw). */
  readonly withdrawn: readonly string[];
  readonly announced: readonly Announcement[];
  /** There wherever something is announced. */
  readonly attributes: PathAttributes | undefined;
  /** RFC 4724 section 2. */
  readonly endOfRib: AddressFamily | undefined;
  /** What was wrong and was survived. */
  readonly problems: readonly AttributeProblem[];
}

/** A family that is not spoken here has no prefixes for us. */
interface MpPart {
  readonly family: AddressFamily | undefined;
  readonly prefixes: readonly string[];
}

interface MpReach extends MpPart {
  readonly nextHop: NextHop | undefined;
}

/** @throws BgpError where RFC 7606 leaves no other way than to end the session */
export function decodeUpdate(body: Uint8Array, context: DecodeContext): Update {
  const { withdrawnPart, attributePart, prefixPart } = split(Buffer.from(body));
  const withdrawn = decodePrefixes(withdrawnPart, 'ipv4');
  const prefixes = decodePrefixes(prefixPart, 'ipv4');
  const read = readAttributes(attributePart, context);
  const unreach = read.mpUnreach && decodeMpUnreach(read.mpUnreach);
  const reach = read.mpReach && decodeMpReach(read.mpReach, context);
  const problems = [...read.problems, ...missing(read, prefixes, reach)];
  const reachable = prefixes.length + (reach?.prefixes.length ?? 0);
  refuseWithoutPrefixes(read, problems, reachable);
  const gone = [...withdrawn, ...(unreach?.prefixes ?? [])];
  const endOfRib = endOfRibOf(body, read, unreach);
  if (reachable === 0 || problems.some(({ approach }) => approach === 'withdraw')) {
    const also = [...prefixes, ...(reach?.prefixes ?? [])];
    return { withdrawn: [...gone, ...also], announced: [], attributes: undefined, endOfRib, problems };
  }
  const { origin = 'incomplete', asPath = [], ...rest } = read.found;
  const announced: Announcement[] = [];
  if (prefixes.length > 0)
    announced.push({ family: 'ipv4', nextHop: { address: read.nextHop ?? '' }, prefixes });
  if (reach?.family && reach.nextHop && reach.prefixes.length > 0)
    announced.push({ family: reach.family, nextHop: reach.nextHop, prefixes: reach.prefixes });
  return { withdrawn: gone, announced, attributes: { origin, asPath, ...rest }, endOfRib, problems };
}

function split(body: Buffer) {
  const malformed = (detail: string) => new BgpError(ERROR.UPDATE, UPDATE_ERROR.MALFORMED_ATTRIBUTES, detail);
  const withdrawnLength = body.readUInt16BE(0);
  const attributesAt = 2 + withdrawnLength;
  if (attributesAt + 2 > body.length)
    throw malformed(`withdrawn routes of ${withdrawnLength} octets are cut off`);
  const attributeLength = body.readUInt16BE(attributesAt);
  const prefixesAt = attributesAt + 2 + attributeLength;
  if (prefixesAt > body.length) throw malformed(`attributes of ${attributeLength} octets are cut off`);
  return {
    withdrawnPart: body.subarray(2, attributesAt),
    attributePart: body.subarray(attributesAt + 2, prefixesAt),
    prefixPart: body.subarray(prefixesAt),
  };
}

/** RFC 7606 section 7.11: where the next hop's length is wrong it is not known where the prefixes begin. */
function decodeMpReach(data: Buffer, { extendedNextHop }: DecodeContext): MpReach {
  const optional = (detail: string) =>
    new BgpError(ERROR.UPDATE, UPDATE_ERROR.OPTIONAL_ATTRIBUTE, `MP_REACH: ${detail}`);
  const length = data[3] ?? 0;
  if (data.length < 5 + length) throw optional('cut off');
  const family = familyOf(data.readUInt16BE(0), data[2] ?? 0);
  if (!family) return { family, prefixes: [], nextHop: undefined };
  const lengths = family === 'ipv6' ? [16, 32] : extendedNextHop ? [4, 16, 32] : [4];
  if (!lengths.includes(length)) throw optional(`next hop of ${length} octets in ${family}`);
  return {
    family,
    nextHop: nextHopOf(data.subarray(4, 4 + length)),
    prefixes: decodePrefixes(data.subarray(5 + length), family),
  };
}

function decodeMpUnreach(data: Buffer): MpPart {
  if (data.length < 3)
    throw new BgpError(ERROR.UPDATE, UPDATE_ERROR.OPTIONAL_ATTRIBUTE, 'MP_UNREACH: cut off');
  const family = familyOf(data.readUInt16BE(0), data[2] ?? 0);
  return { family, prefixes: family ? decodePrefixes(data.subarray(3), family) : [] };
}

/** Global, then link-local (RFC 2545 section 3); some send a link-local one alone. */
function nextHopOf(data: Buffer): NextHop {
  const address = formatAddress(fromBytes(data.subarray(0, Math.min(data.length, 16))));
  const linkLocal = data.length === 32 ? formatAddress(fromBytes(data.subarray(16))) : undefined;
  if (linkLocal === undefined || !isLinkLocal(linkLocal)) return { address };
  return address === '::' ? { address: linkLocal } : { address, linkLocal };
}

export const isLinkLocal = (address: string): boolean => /^fe[89ab]/i.test(address);

/** Well-known attributes that must be there (RFC 7606 section 3 d), and next hops that no router can have. */
function missing(
  read: ReadAttributes,
  prefixes: readonly string[],
  reach: MpReach | undefined,
): AttributeProblem[] {
  const problems: AttributeProblem[] = [];
  const lacks = (code: number, attribute: string) => {
    if (!read.seen.has(code)) problems.push({ approach: 'withdraw', attribute, detail: 'missing' });
  };
  if (prefixes.length + (reach?.prefixes.length ?? 0) > 0) {
    lacks(ATTRIBUTE.ORIGIN, 'ORIGIN');
    lacks(ATTRIBUTE.AS_PATH, 'AS_PATH');
  }
  if (prefixes.length > 0) lacks(ATTRIBUTE.NEXT_HOP, 'NEXT_HOP');
  const hops = [prefixes.length > 0 ? read.nextHop : undefined, reach?.nextHop?.address];
  for (const hop of hops)
    if (hop !== undefined && !isHost(hop))
      problems.push({ approach: 'withdraw', attribute: 'NEXT_HOP', detail: `${hop} is no host's address` });
  return problems;
}

/** Not unspecified, not loopback, not multicast (nor IPv4's reserved class E). */
function isHost(text: string): boolean {
  const address = parseAddress(text);
  const first = toBytes(address)[0] ?? 0;
  if (address.family === 4) return first !== 0 && first !== 127 && first < 224;
  return address.value > 1n && first !== 255;
}

/**
 * RFC 7606 section 5.2: where nothing is announced, and something other than MP_UNREACH is there and broken, the
 * prefixes may have been lost with what is broken.
 */
function refuseWithoutPrefixes(
  { seen }: ReadAttributes,
  problems: readonly AttributeProblem[],
  reachable: number,
): void {
  const worst = problems.find(({ approach }) => approach === 'withdraw');
  if (reachable > 0 || !worst || (seen.size === 1 && seen.has(ATTRIBUTE.MP_UNREACH))) return;
  const detail = `${worst.attribute}: ${worst.detail}; no prefix could be read`;
  throw new BgpError(ERROR.UPDATE, UPDATE_ERROR.MALFORMED_ATTRIBUTES, detail);
}

/** An UPDATE with nothing in it for IPv4; an empty MP_UNREACH alone for other families. */
function endOfRibOf(
  body: Uint8Array,
  read: ReadAttributes,
  unreach: MpPart | undefined,
): AddressFamily | undefined {
  if (body.length === 4 && body.every((octet) => octet === 0)) return 'ipv4';
  const alone = read.seen.size === 1 && unreach?.prefixes.length === 0 && read.mpUnreach?.length === 3;
  return alone && read.problems.length === 0 && body.length === 4 + attributeSize(body)
    ? unreach.family
    : undefined;
}

/** With no withdrawn routes: they would be before the attributes. */
const attributeSize = (body: Uint8Array): number =>
  (body[0] ?? 0) === 0 && (body[1] ?? 0) === 0 ? (body[2] ?? 0) * 256 + (body[3] ?? 0) : -1;
