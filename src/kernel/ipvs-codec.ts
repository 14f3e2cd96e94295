/** Messages of the netlink family IPVS (linux/ip_vs.h): virtual services and their destinations. */
import { bits, type Family, formatAddress, fromBytes, parseAddress, toBytes } from '../lib/ip.ts';
import {
  attribute,
  type Message,
  nested,
  parseAttributes,
  text,
  textOf,
  u16be,
  u32,
  u32Of,
} from './netlink.ts';

export const IPVS_CMD = {
  NEW_SERVICE: 1,
  SET_SERVICE: 2,
  DEL_SERVICE: 3,
  GET_SERVICE: 4,
  NEW_DEST: 5,
  SET_DEST: 6,
  DEL_DEST: 7,
  GET_DEST: 8,
} as const;

const CMD_ATTR = { SERVICE: 1, DEST: 2 } as const;
const SVC = {
  AF: 1,
  PROTOCOL: 2,
  ADDR: 3,
  PORT: 4,
  FWMARK: 5,
  SCHED_NAME: 6,
  FLAGS: 7,
  TIMEOUT: 8,
  NETMASK: 9,
} as const;
const DEST = {
  ADDR: 1,
  PORT: 2,
  FWD_METHOD: 3,
  WEIGHT: 4,
  U_THRESH: 5,
  L_THRESH: 6,
  ACTIVE_CONNS: 7,
  INACT_CONNS: 8,
  PERSIST_CONNS: 9,
  ADDR_FAMILY: 11,
} as const;
const AF_INET = 2;
const AF_INET6 = 10;
const FLAG_PERSISTENT = 1;
/** Set by the kernel in what it lists. */
const FLAG_HASHED = 2;
const MASQUERADE = 0;
/** Bytes of the kernel's `union nf_inet_addr`. */
const ADDRESS_BYTES = 16;

/** What names a virtual service: an address, or packets with a firewall mark. */
export type IpvsKey =
  | { readonly family: Family; readonly protocol: number; readonly address: string; readonly port: number }
  | { readonly family: Family; readonly fwmark: number };

export interface IpvsService {
  readonly key: IpvsKey;
  /** Name of the kernel's scheduler: `rr`, `lc`, `mh`. */
  readonly scheduler: string;
  /** Scheduler's flags, IPVS_FLAG. */
  readonly flags: number;
  /** Seconds that one client stays at its destination; 0: it does not. */
  readonly persistence: number;
}

/** linux/ip_vs.h, IP_VS_SVC_F_SCHED_*: another weight 0 or full destination takes over; ports count in the hash. */
export const IPVS_FLAG = { FALLBACK: 0x8, PORT: 0x10 } as const;

export interface IpvsDestination {
  readonly address: string;
  readonly port: number;
  /** 0: gets no new connection, keeps those it has. */
  readonly weight: number;
}

export interface IpvsListed extends IpvsDestination {
  readonly active: number;
  /** Connections that are closing, and all of UDP. */
  readonly inactive: number;
  /** Clients that are bound to it. */
  readonly persistent: number;
}

const familyNumber = (family: Family): number => (family === 4 ? AF_INET : AF_INET6);

function u16(type: number, value: number): Buffer {
  return attribute(type, Uint8Array.of(value & 255, value >> 8));
}

function addressBytes(type: number, address: string): Buffer {
  const data = Buffer.alloc(ADDRESS_BYTES);
  data.set(toBytes(parseAddress(address)));
  return attribute(type, data);
}

function keyParts(key: IpvsKey): Buffer[] {
  const family = u16(SVC.AF, familyNumber(key.family));
  if ('fwmark' in key) return [family, u32(SVC.FWMARK, key.fwmark)];
  return [
    family,
    u16(SVC.PROTOCOL, key.protocol),
    addressBytes(SVC.ADDR, key.address),
    u16be(SVC.PORT, key.port),
  ];
}

export const serviceKeyPart = (key: IpvsKey): Buffer => nested(CMD_ATTR.SERVICE, keyParts(key));

export function servicePart({ key, scheduler, flags, persistence }: IpvsService): Buffer {
  const all = flags | (persistence > 0 ? FLAG_PERSISTENT : 0);
  const both = Buffer.alloc(8);
  both.writeUInt32LE(all, 0);
  both.writeUInt32LE(0xffffffff, 4);
  return nested(CMD_ATTR.SERVICE, [
    ...keyParts(key),
    text(SVC.SCHED_NAME, scheduler),
    attribute(SVC.FLAGS, both),
    u32(SVC.TIMEOUT, persistence),
    // One client is one address: a mask of IPv4, a prefix length of IPv6.
    u32(SVC.NETMASK, key.family === 4 ? 0xffffffff : bits(6)),
  ]);
}

export function destinationPart({ address, port, weight }: IpvsDestination): Buffer {
  return nested(CMD_ATTR.DEST, [
    addressBytes(DEST.ADDR, address),
    u16be(DEST.PORT, port),
    u16(DEST.ADDR_FAMILY, familyNumber(parseAddress(address).family)),
    u32(DEST.FWD_METHOD, MASQUERADE),
    u32(DEST.WEIGHT, weight),
    u32(DEST.U_THRESH, 0),
    u32(DEST.L_THRESH, 0),
  ]);
}

const readAddress = (data: Buffer | undefined, family: Family): string | undefined =>
  data && data.length >= ADDRESS_BYTES
    ? formatAddress(fromBytes(data.subarray(0, bits(family) / 8)))
    : undefined;

function readFamily(data: Buffer | undefined): Family | undefined {
  const number = data && data.length >= 2 ? data.readUInt16LE(0) : undefined;
  return number === AF_INET ? 4 : number === AF_INET6 ? 6 : undefined;
}

const readPort = (data: Buffer | undefined): number => (data && data.length >= 2 ? data.readUInt16BE(0) : 0);

/** Undefined: not a service that can be named here. */
export function parseService({ body }: Message): IpvsService | undefined {
  const parts = parseAttributes(parseAttributes(body, 4).get(CMD_ATTR.SERVICE) ?? Buffer.alloc(0));
  const family = readFamily(parts.get(SVC.AF));
  const fwmark = u32Of(parts.get(SVC.FWMARK)) ?? 0;
  const address = family && readAddress(parts.get(SVC.ADDR), family);
  if (family === undefined || (fwmark === 0 && address === undefined)) return undefined;
  const flags = (u32Of(parts.get(SVC.FLAGS)) ?? 0) & ~FLAG_HASHED;
  const protocol = parts.get(SVC.PROTOCOL);
  return {
    key:
      fwmark > 0 || address === undefined
        ? { family, fwmark }
        : {
            family,
            protocol: protocol && protocol.length >= 2 ? protocol.readUInt16LE(0) : 0,
            address,
            port: readPort(parts.get(SVC.PORT)),
          },
    scheduler: textOf(parts.get(SVC.SCHED_NAME)) ?? '',
    flags: flags & ~FLAG_PERSISTENT,
    persistence: flags & FLAG_PERSISTENT ? (u32Of(parts.get(SVC.TIMEOUT)) ?? 0) : 0,
  };
}

/** @param family of the service; kernels before 3.18 do not say the destination's own. */
export function parseDestination({ body }: Message, family: Family): IpvsListed | undefined {
  const parts = parseAttributes(parseAttributes(body, 4).get(CMD_ATTR.DEST) ?? Buffer.alloc(0));
  const address = readAddress(parts.get(DEST.ADDR), readFamily(parts.get(DEST.ADDR_FAMILY)) ?? family);
  if (address === undefined) return undefined;
  const number = (type: number) => u32Of(parts.get(type)) ?? 0;
  return {
    address,
    port: readPort(parts.get(DEST.PORT)),
    weight: number(DEST.WEIGHT),
    active: number(DEST.ACTIVE_CONNS),
    inactive: number(DEST.INACT_CONNS),
    persistent: number(DEST.PERSIST_CONNS),
  };
}
