/** A translated connection as ctnetlink makes it (linux/netfilter/nfnetlink_conntrack.h). */
import { parseAddress, toBytes } from '../lib/ip.ts';
import type { Tuple } from './conntrack.ts';
import { attribute, nested, NLM_F_CREATE, NLM_F_EXCL, type Request, u16be, u32be, u8 } from './netlink.ts';
import { nfgenmsg } from './nflog-codec.ts';

export interface NewConnection {
  /** As the client writes it, before any translation. */
  readonly original: Tuple;
  /** What answers look like, before they are translated back. */
  readonly reply: Tuple;
  /** Seconds until the kernel forgets it unless a packet comes. */
  readonly timeout: number;
  readonly answered: boolean;
}

const NEW = 1 << 8;
const CTA = { ORIGINAL: 1, REPLY: 2, STATUS: 3, PROTOINFO: 4, NAT_SRC: 6, TIMEOUT: 7, NAT_DST: 13 } as const;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP = { 4: { SRC: 1, DST: 2 }, 6: { SRC: 3, DST: 4 } } as const;
const PROTO = { NUMBER: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
const NAT = { 4: { MIN: 1, MAX: 2 }, 6: { MIN: 4, MAX: 5 }, PROTO: 3 } as const;
const NAT_PORT = { MIN: 1, MAX: 2 } as const;
const TCP = 6;
const SCTP = 132;
const PROTOINFO = { TCP: 1, SCTP: 3 } as const;
const TCP_INFO = { STATE: 1, FLAGS_ORIGINAL: 4, FLAGS_REPLY: 5 } as const;
const TCP_ESTABLISHED = 3;
const SCTP_INFO = { STATE: 1, TAG_ORIGINAL: 2, TAG_REPLY: 3 } as const;
const SCTP_ESTABLISHED = 4;
/** Whose windows nobody saw: selective acknowledgements, and no judging by windows, as of what is picked up mid-stream. */
const LIBERAL = Uint8Array.of(0x0a, 0x0a);
/** IPS_* */
const STATUS = { SEEN_REPLY: 2, ASSURED: 4, CONFIRMED: 8 } as const;
const FAMILY = { 4: 2, 6: 10 } as const;

const familyOf = ({ src }: Tuple): 4 | 6 => (src.includes(':') ? 6 : 4);
const bytes = (address: string): Uint8Array => toBytes(parseAddress(address));

const inverse = ({ src, dst, srcPort, dstPort, protocol }: Tuple): Tuple => ({
  protocol,
  src: dst,
  dst: src,
  srcPort: dstPort,
  dstPort: srcPort,
});

function tuple(type: number, of: Tuple): Buffer {
  const ip = IP[familyOf(of)];
  return nested(type, [
    nested(TUPLE.IP, [attribute(ip.SRC, bytes(of.src)), attribute(ip.DST, bytes(of.dst))]),
    nested(TUPLE.PROTO, [
      u8(PROTO.NUMBER, of.protocol),
      u16be(PROTO.SRC_PORT, of.srcPort),
      u16be(PROTO.DST_PORT, of.dstPort),
    ]),
  ]);
}

function nat(type: number, address: string, port: number): Buffer {
  const { MIN, MAX } = NAT[address.includes(':') ? 6 : 4];
  return nested(type, [
    attribute(MIN, bytes(address)),
    attribute(MAX, bytes(address)),
    nested(NAT.PROTO, [u16be(NAT_PORT.MIN, port), u16be(NAT_PORT.MAX, port)]),
  ]);
}

function protocolInfo({ protocol }: Tuple): Buffer[] {
  if (protocol === TCP)
    return [
      nested(CTA.PROTOINFO, [
        nested(PROTOINFO.TCP, [
          u8(TCP_INFO.STATE, TCP_ESTABLISHED),
          attribute(TCP_INFO.FLAGS_ORIGINAL, LIBERAL),
          attribute(TCP_INFO.FLAGS_REPLY, LIBERAL),
        ]),
      ]),
    ];
  if (protocol === SCTP)
    return [
      nested(CTA.PROTOINFO, [
        nested(PROTOINFO.SCTP, [
          u8(SCTP_INFO.STATE, SCTP_ESTABLISHED),
          u32be(SCTP_INFO.TAG_ORIGINAL, 0),
          u32be(SCTP_INFO.TAG_REPLY, 0),
        ]),
      ]),
    ];
  return [];
}

/** The kernel is told how to translate, not what answers look like: it works that out itself. */
export function addition({ original, reply, timeout, answered }: NewConnection, where: string): Request {
  const isTo = reply.src === original.dst && reply.srcPort === original.dstPort;
  const isFrom = reply.dst === original.src && reply.dstPort === original.srcPort;
  return {
    type: NEW,
    flags: NLM_F_CREATE | NLM_F_EXCL,
    parts: [
      nfgenmsg(FAMILY[familyOf(original)]),
      tuple(CTA.ORIGINAL, original),
      tuple(CTA.REPLY, inverse(original)),
      u32be(CTA.TIMEOUT, timeout),
      u32be(CTA.STATUS, STATUS.CONFIRMED | (answered ? STATUS.SEEN_REPLY | STATUS.ASSURED : 0)),
      ...protocolInfo(original),
      ...(isTo ? [] : [nat(CTA.NAT_DST, reply.src, reply.srcPort)]),
      ...(isFrom ? [] : [nat(CTA.NAT_SRC, reply.dst, reply.dstPort)]),
    ],
    what: `take over a connection${where}`,
  };
}
