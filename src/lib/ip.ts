/**
 * Addresses of both families as one 128-bit module. Text forms: RFC 4291 section 2.2 to read, RFC 5952 to
 * write. An IPv4-mapped address (`::ffff:a.b.c.d`) stays IPv6 here.
 */
import { HeddleError } from './errors.ts';

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  readonly value: bigint;
}

export interface Cidr {
  readonly family: Family;
  /** Network address: host bits are zero. */
  readonly value: bigint;
  readonly length: number;
}

export const bits = (family: Family): number => (family === 4 ? 32 : 128);

function parse4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    // No leading zeros: other parsers read them as octal.
    if (!/^(0|[1-9]\d{0,2})$/.test(part)) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    value = (value << 8n) | BigInt(octet);
  }
  return value;
}

/**
 * Eight groups of 16 bits, most significant first; undefined for what is no IPv6 address (RFC 4291 section 2.2).
 * Without big integers: tens of thousands of addresses are read at a start.
 */
export function groups6(text: string): number[] | undefined {
  const groups: number[] = [];
  /** How many groups stand before `::`. */
  let gap = -1;
  let at = 0;
  if (text.startsWith('::')) {
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    const end = endOfGroup(text, at);
    if (end === text.length && text.includes('.', at)) {
      const tail = parse4(text.slice(at));
      if (tail === undefined) return undefined;
      groups.push(Number(tail >> 16n), Number(tail & 0xffffn));
      break;
    }
    const group = hexGroup(text, at, end);
    if (group < 0) return undefined;
    groups.push(group);
    at = end + 1;
    if (text.charCodeAt(at) === COLON && end < text.length) {
      if (gap >= 0) return undefined;
      gap = groups.length;
      at++;
    } else if (at === text.length) return undefined;
  }
  if (gap < 0) return groups.length === 8 ? groups : undefined;
  // `::` stands for one group at least.
  if (groups.length > 7) return undefined;
  return [...groups.slice(0, gap), ...Array<number>(8 - groups.length).fill(0), ...groups.slice(gap)];
}

const COLON = 58;

function endOfGroup(text: string, from: number): number {
  const colon = text.indexOf(':', from);
  return colon < 0 ? text.length : colon;
}

/** -1 for what is not one to four hexadecimal digits. */
function hexGroup(text: string, from: number, to: number): number {
  if (to === from || to > from + 4) return -1;
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = hexDigit(text.charCodeAt(i));
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}

const parse6 = (text: string): bigint | undefined =>
  groups6(text)?.reduce((value, group) => (value << 16n) | BigInt(group), 0n);

export function tryParseAddress(text: string): Address | undefined {
  if (text.includes(':')) {
    const value = parse6(text);
    return value === undefined ? undefined : { family: 6, value };
  }
  const value = parse4(text);
  return value === undefined ? undefined : { family: 4, value };
}

/** @throws HeddleError `BadAddress` */
export function parseAddress(text: string): Address {
  const address = tryParseAddress(text);
  if (!address)
    throw new HeddleError('BadAddress', `"${text}" is not an IP address (expected 10.0.0.1 or fd00::1)`);
  return address;
}

export function tryParseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const address = tryParseAddress(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (!address || !/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  if (length > bits(address.family)) return undefined;
  return { family: address.family, value: address.value & mask(address.family, length), length };
}

/** Host bits are cleared. @throws HeddleError `BadCidr` */
export function parseCidr(text: string): Cidr {
  const cidr = tryParseCidr(text);
  if (!cidr)
    throw new HeddleError(
      'BadCidr',
      `"${text}" is not an address range (expected 10.0.0.0/8 or fd00::/64, with a length of at most 32 or 128)`,
    );
  return cidr;
}

function mask(family: Family, length: number): bigint {
  const width = BigInt(bits(family));
  return ((1n << width) - 1n) ^ ((1n << (width - BigInt(length))) - 1n);
}

function format4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
}

const format6 = (value: bigint): string =>
  formatGroups(Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn)));

function formatGroups(groups: readonly number[]): string {
  // RFC 5952 section 4.2: the longest run of two or more zero groups, the first of equals.
  let start = -1;
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length++;
    if (length > longest) {
      start = i;
      longest = length;
    }
    i += length;
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === start) {
      text += '::';
      i += longest - 1;
    } else text += (text === '' || i === start + longest ? '' : ':') + (groups[i] ?? 0).toString(16);
  }
  return text;
}

export function formatAddress(address: Address): string {
  return address.family === 4 ? format4(address.value) : format6(address.value);
}

export function formatCidr(cidr: Cidr): string {
  return `${formatAddress(cidr)}/${cidr.length}`;
}

/** The one text of an address, whatever way it was written. @throws HeddleError `BadAddress` */
export const canonicalAddress = (text: string): string =>
  PLAIN4.test(text) ? text : formatAddress(parseAddress(text));

/** IPv4 as it is written: most addresses are, and need no reading. */
const PLAIN4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?=\d)|$)){4}$/;

/** An address as `canonicalAddress` writes it, and its family; undefined for what is none. */
export function tryCanonical(text: string): { readonly text: string; readonly family: Family } | undefined {
  if (!text.includes(':')) return PLAIN4.test(text) ? { text, family: 4 } : undefined;
  const groups = groups6(text);
  return groups && { text: formatGroups(groups), family: 6 };
}

export function firstOf(cidr: Cidr): Address {
  return { family: cidr.family, value: cidr.value };
}

export function lastOf(cidr: Cidr): Address {
  const size = 1n << BigInt(bits(cidr.family) - cidr.length);
  return { family: cidr.family, value: cidr.value + size - 1n };
}

export function contains(cidr: Cidr, address: Address): boolean {
  const host = BigInt(bits(cidr.family) - cidr.length);
  return cidr.family === address.family && address.value >> host === cidr.value >> host;
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && (contains(a, firstOf(b)) || contains(b, firstOf(a)));
}

/** The address `offset` places after the first of `cidr`; undefined outside of it. */
export function nth(cidr: Cidr, offset: bigint): Address | undefined {
  const address: Address = { family: cidr.family, value: cidr.value + offset };
  return offset >= 0n && contains(cidr, address) ? address : undefined;
}

/** Network byte order: 4 or 16 bytes. */
export function toBytes(address: Address): Uint8Array {
  const size = bits(address.family) / 8;
  return Uint8Array.from({ length: size }, (_, i) =>
    Number((address.value >> BigInt(8 * (size - 1 - i))) & 255n),
  );
}

/** From 4 or 16 bytes in network byte order. */
export function fromBytes(bytes: Uint8Array): Address {
  const family: Family = bytes.length === 4 ? 4 : 6;
  return { family, value: bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n) };
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
