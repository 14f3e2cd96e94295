/** Tracked connections of one namespace (ctnetlink): listed, and cut where an entry points to what is gone. */
import { formatAddress, fromBytes } from '../lib/ip.ts';
import { addition, type NewConnection } from './conntrack-addition.ts';
import { attribute, type Message, nested, parseAttributes, type Request } from './netlink.ts';
import { NETLINK_NETFILTER, openNetlink } from './netlink-socket.ts';
import type { Netns } from './netns.ts';
import { nfgenmsg } from './nflog-codec.ts';

const NFNL_SUBSYS_CTNETLINK = 1;
const GET = (NFNL_SUBSYS_CTNETLINK << 8) | 1;
const DELETE = (NFNL_SUBSYS_CTNETLINK << 8) | 2;
const CTA = {
  ORIGINAL: 1,
  REPLY: 2,
  STATUS: 3,
  PROTOINFO: 4,
  TIMEOUT: 7,
  MARK: 8,
  COUNTERS_ORIGINAL: 9,
  COUNTERS_REPLY: 10,
  ID: 12,
  ZONE: 18,
} as const;
const PROTOINFO_TCP = 1;
const TCP_STATE = 1;
const COUNTERS = { PACKETS: 1, BYTES: 2 } as const;
/** enum tcp_conntrack. */
const TCP_STATES: readonly string[] = [
  'none',
  'syn-sent',
  'syn-received',
  'established',
  'fin-wait',
  'close-wait',
  'last-ack',
  'time-wait',
  'close',
];
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP = { V4_SRC: 1, V4_DST: 2, V6_SRC: 3, V6_DST: 4 } as const;
const PROTO = { NUMBER: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
const AF_INET = 2;
const AF_INET6 = 10;

export interface Tuple {
  readonly src: string;
  readonly dst: string;
  /** IP protocol number: 6 TCP, 17 UDP. */
  readonly protocol: number;
  /** 0 where the protocol has no ports. */
  readonly srcPort: number;
  readonly dstPort: number;
}

export interface Connection {
  /** As the first packet was written, before any translation. */
  readonly original: Tuple;
  /** What answers look like: its `src` is the backend that a service address stands for. */
  readonly reply: Tuple;
  readonly mark: number;
  /** IPS_* bits: 2 is "seen a reply", 8 "confirmed", 16 and 32 source and destination NAT. */
  readonly status: number;
  /** Seconds until the kernel forgets it; undefined for offloaded ones. */
  readonly timeout: number | undefined;
  /** Of TCP: `established`. */
  readonly tcpState: string | undefined;
  /** Of each direction, where the kernel counts (net.netfilter.nf_conntrack_acct). */
  readonly sent: PacketCount | undefined;
  readonly received: PacketCount | undefined;
}

export interface PacketCount {
  readonly packets: number;
  readonly bytes: number;
}

export interface Conntrack {
  list(filter?: (connection: Connection) => boolean): Connection[];
  /** Cuts every connection that `filter` picks and says how many there were. */
  delete(filter: (connection: Connection) => boolean): number;
  /**
   * As if the kernel had seen them begin, and had translated them: also before there are rules. What is there already
   * stays as it is, and what this kernel does not track is left out. Returns how many were made.
   * @throws HeddleError `Netlink`
   */
  add(connections: readonly NewConnection[]): number;
  close(): void;
}

/** With what names it to the kernel. */
interface Entry {
  readonly connection: Connection;
  readonly family: number;
  readonly key: Buffer[];
}

/** It is there, ends just now, or is of a protocol that this kernel does not know. */
const NOT_ADDED = ['EEXIST', 'EBUSY', 'EINVAL', 'EOPNOTSUPP'] as const;

export function openConntrack(ns?: Netns): Conntrack {
  const socket = openNetlink(NETLINK_NETFILTER, ns);
  const where = ns ? ` in ${ns.path}` : '';

  const dump = (family: number): Entry[] =>
    socket.dump(
      { type: GET, flags: 0, parts: [nfgenmsg(family)], what: `list connections${where}` },
      parseEntry,
    );
  const entries = (): Entry[] => [...dump(AF_INET), ...dump(AF_INET6)];

  const deletion = ({ family, key }: Entry): Request => ({
    type: DELETE,
    flags: 0,
    parts: [nfgenmsg(family), ...key],
    what: `cut a connection${where}`,
  });

  return {
    list: (filter = () => true) =>
      entries()
        .map((entry) => entry.connection)
        .filter(filter),
    delete(filter) {
      const picked = entries().filter((entry) => filter(entry.connection));
      // One that ended meanwhile is as good as cut.
      for (const entry of picked) socket.attempt(deletion(entry), 'ENOENT');
      return picked.length;
    },
    add: (connections) =>
      connections.filter((connection) => socket.attempt(addition(connection, where), ...NOT_ADDED)).length,
    close: () => socket.close(),
  };
}

function parseEntry({ body }: Message): Entry | undefined {
  const attributes = parseAttributes(body, 4);
  const [original, reply] = [attributes.get(CTA.ORIGINAL), attributes.get(CTA.REPLY)];
  const originalTuple = original && parseTuple(original);
  const replyTuple = reply && parseTuple(reply);
  if (!original || !originalTuple || !replyTuple) return undefined;
  const number = (type: number) => attributes.get(type)?.readUInt32BE(0);
  const key = [nested(CTA.ORIGINAL, [Buffer.from(original)])];
  // The id keeps a new connection with the same addresses and ports alive.
  for (const type of [CTA.ID, CTA.ZONE]) {
    const value = attributes.get(type);
    if (value) key.push(attribute(type, Buffer.from(value)));
  }
  return {
    family: body[0] ?? 0,
    key,
    connection: {
      original: originalTuple,
      reply: replyTuple,
      mark: number(CTA.MARK) ?? 0,
      status: number(CTA.STATUS) ?? 0,
      timeout: number(CTA.TIMEOUT),
      tcpState: parseTcpState(attributes.get(CTA.PROTOINFO)),
      sent: parseCount(attributes.get(CTA.COUNTERS_ORIGINAL)),
      received: parseCount(attributes.get(CTA.COUNTERS_REPLY)),
    },
  };
}

function parseTcpState(data: Buffer | undefined): string | undefined {
  const tcp = data && parseAttributes(data).get(PROTOINFO_TCP);
  const state = tcp && parseAttributes(tcp).get(TCP_STATE)?.[0];
  return state === undefined ? undefined : TCP_STATES[state];
}

function parseCount(data: Buffer | undefined): PacketCount | undefined {
  if (!data) return undefined;
  const parts = parseAttributes(data);
  const number = (type: number) => Number(parts.get(type)?.readBigUInt64BE(0) ?? 0n);
  return { packets: number(COUNTERS.PACKETS), bytes: number(COUNTERS.BYTES) };
}

function parseTuple(data: Buffer): Tuple | undefined {
  const parts = parseAttributes(data);
  const ip = parseAttributes(parts.get(TUPLE.IP) ?? Buffer.alloc(0));
  const proto = parseAttributes(parts.get(TUPLE.PROTO) ?? Buffer.alloc(0));
  const src = ip.get(IP.V4_SRC) ?? ip.get(IP.V6_SRC);
  const dst = ip.get(IP.V4_DST) ?? ip.get(IP.V6_DST);
  if (!src || !dst) return undefined;
  return {
    src: formatAddress(fromBytes(src)),
    dst: formatAddress(fromBytes(dst)),
    protocol: proto.get(PROTO.NUMBER)?.[0] ?? 0,
    srcPort: proto.get(PROTO.SRC_PORT)?.readUInt16BE(0) ?? 0,
    dstPort: proto.get(PROTO.DST_PORT)?.readUInt16BE(0) ?? 0,
  };
}
