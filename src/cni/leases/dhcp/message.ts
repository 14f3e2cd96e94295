/** DHCP messages (RFC 2131 section 2, options of RFC 2132): what a client says, and what it is told. */
import { formatAddress, fromBytes, parseAddress, toBytes } from '../../../lib/ip.ts';

export const TYPE = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7 } as const;
export const OPTION = {
  MASK: 1,
  ROUTERS: 3,
  DNS: 6,
  DOMAIN: 15,
  REQUESTED: 50,
  LEASE: 51,
  OVERLOAD: 52,
  TYPE: 53,
  SERVER: 54,
  ASK: 55,
  LARGEST: 57,
  T1: 58,
  T2: 59,
  CLIENT: 61,
  SEARCH: 119,
  ROUTES: 121,
} as const;

const COOKIE = Buffer.from([99, 130, 83, 99]);
const HEAD = 236;
/** RFC 1542 section 2.1: servers may expect that much. */
const LEAST = 300;
const PAD = 0;
const END = 255;
const BROADCAST = 0x8000;

export interface Say {
  readonly type: number;
  readonly xid: number;
  /** Seconds since it began to ask. */
  readonly secs: number;
  readonly mac: string;
  /** Its address, where it has one. */
  readonly address?: string;
  /** Whether answers must come to everybody: who has no address hears no others. */
  readonly broadcast: boolean;
  readonly options: readonly (readonly [code: number, data: Uint8Array])[];
}

export function encodeMessage({ type, xid, secs, mac, address, broadcast, options }: Say): Buffer {
  const head = Buffer.alloc(HEAD);
  head[0] = 1;
  head[1] = 1;
  head[2] = 6;
  head.writeUInt32BE(xid >>> 0, 4);
  head.writeUInt16BE(Math.min(0xffff, Math.max(0, secs)), 8);
  head.writeUInt16BE(broadcast ? BROADCAST : 0, 10);
  if (address !== undefined) head.set(toBytes(parseAddress(address)), 12);
  head.set(macBytes(mac), 28);
  const all = [[OPTION.TYPE, Uint8Array.of(type)] as const, ...options];
  const data = all.flatMap(([code, value]) => [Buffer.from([code, value.length]), value]);
  const message = Buffer.concat([head, COOKIE, ...data, Buffer.of(END)]);
  return message.length >= LEAST ? message : Buffer.concat([message, Buffer.alloc(LEAST - message.length)]);
}

export const macBytes = (mac: string): Uint8Array =>
  Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));

export interface Told {
  readonly type: number;
  readonly xid: number;
  readonly mac: string;
  /** The address that is offered or given; `0.0.0.0` for none. */
  readonly address: string;
  readonly options: ReadonlyMap<number, Buffer>;
}

/** Undefined where it is no answer of a server. */
export function decodeMessage(data: Buffer): Told | undefined {
  if (data.length < HEAD + 4 || data[0] !== 2 || data[1] !== 1 || data[2] !== 6) return undefined;
  if (!data.subarray(HEAD, HEAD + 4).equals(COOKIE)) return undefined;
  const options = new Map<number, Buffer>();
  readOptions(data.subarray(HEAD + 4), options);
  // RFC 2132 section 9.3: more of them in `file` (1), `sname` (2), or both.
  const overload = options.get(OPTION.OVERLOAD)?.[0] ?? 0;
  if (overload & 1) readOptions(data.subarray(108, 236), options);
  if (overload & 2) readOptions(data.subarray(44, 108), options);
  const type = options.get(OPTION.TYPE);
  if (type?.length !== 1) return undefined;
  return {
    type: type[0] ?? 0,
    xid: data.readUInt32BE(4),
    mac: [...data.subarray(28, 34)].map((byte) => byte.toString(16).padStart(2, '0')).join(':'),
    address: addressAt(data, 16),
    options,
  };
}

/** One that is there more than once is one long one (RFC 3396). What does not fit ends it. */
function readOptions(data: Buffer, into: Map<number, Buffer>): void {
  for (let at = 0; at < data.length; ) {
    const code = data[at] ?? END;
    if (code === END) return;
    if (code === PAD) {
      at++;
      continue;
    }
    const length = data[at + 1];
    if (length === undefined || at + 2 + length > data.length) return;
    const value = data.subarray(at + 2, at + 2 + length);
    const before = into.get(code);
    into.set(code, before ? Buffer.concat([before, value]) : value);
    at += 2 + length;
  }
}

export const addressAt = (data: Buffer, at: number): string =>
  formatAddress(fromBytes(data.subarray(at, at + 4)));

/** Of four bytes each; what is left over is dropped. */
export const addressesIn = (data: Buffer | undefined): string[] =>
  Array.from({ length: Math.floor((data?.length ?? 0) / 4) }, (_, i) =>
    addressAt(data ?? Buffer.alloc(0), i * 4),
  );

export const u32Of = (data: Buffer | undefined): number | undefined =>
  data?.length === 4 ? data.readUInt32BE(0) : undefined;
