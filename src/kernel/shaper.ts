/**
 * How fast a link may send: a token bucket filter (sch_tbf) as its root qdisc, by rtnetlink. Packets wait for their
 * turn, so that TCP slows down instead of losing; what waits too long is dropped.
 */
import { attribute, NLM_F_CREATE, NLM_F_REPLACE, nested, text, u32 } from './netlink.ts';
import { NETLINK_ROUTE, type NetlinkSocket, openNetlink } from './netlink-socket.ts';
import type { Netns } from './netns.ts';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_TBF_PARMS = 1;
const TCA_TBF_RATE64 = 4;
const TCA_TBF_BURST = 6;
const ROOT = 0xffffffff;
/** 72:0, ours as routes of protocol 72 are: somebody else's qdisc is not deleted by it. */
const HANDLE = 0x00480000;
const LINKLAYER_ETHERNET = 1;

export interface Shape {
  readonly bitsPerSecond: number;
  /** Bytes that may be sent at once after a pause. */
  readonly burst: number;
  /** Bytes that may wait. */
  readonly queue: number;
}

/** Seconds of the rate that may be sent at once, and wait. */
const BURST_SECONDS = 0.005;
const QUEUE_SECONDS = 0.1;
/** A packet of segments as a sender hands it over, and room for a few. */
const BURST_MIN = 65_536;
const QUEUE_MIN = 4 * BURST_MIN;
const MOST = 2 ** 31 - 1;

/** Burst and queue that suit a rate. @param burst bytes that somebody asks for; never less than one packet needs */
export function shapeOf(bitsPerSecond: number, burst?: number): Shape {
  const bytes = bitsPerSecond / 8;
  const between = (least: number, most: number) => Math.min(MOST, Math.max(least, Math.ceil(most)));
  return {
    bitsPerSecond,
    burst: between(BURST_MIN, burst ?? bytes * BURST_SECONDS),
    queue: between(QUEUE_MIN, bytes * QUEUE_SECONDS),
  };
}

export interface ShapedLink {
  readonly ifindex: number;
  /** Where the link is. */
  readonly ns: Netns;
}

/** In place of what was there. What waits already goes on waiting. @throws HeddleError `Netlink` */
export function shapeLink({ ifindex, ns }: ShapedLink, shape: Shape): void {
  withSocket(ns, (socket) =>
    socket.request({
      type: RTM_NEWQDISC,
      flags: NLM_F_CREATE | NLM_F_REPLACE,
      what: `limit what the interface ${ifindex} sends`,
      parts: [header(ifindex), text(TCA_KIND, 'tbf'), tbfOptions(shape)],
    }),
  );
}

/** False where nothing of ours was there. */
export function unshapeLink({ ifindex, ns }: ShapedLink): boolean {
  return withSocket(ns, (socket) =>
    socket.attempt(
      {
        type: RTM_DELQDISC,
        flags: 0,
        what: `take the limit off the interface ${ifindex}`,
        parts: [header(ifindex)],
      },
      'ENOENT',
      'EINVAL',
      'ENODEV',
    ),
  );
}

/** Whether a limit of ours is there. @throws HeddleError `Netlink` */
export function isShaped({ ifindex, ns }: ShapedLink): boolean {
  const header = Buffer.alloc(20);
  header.writeInt32LE(ifindex, 4);
  const found = withSocket(ns, (socket) =>
    socket.dump(
      {
        type: RTM_GETQDISC,
        flags: 0,
        what: `read the queues of the interface ${ifindex}`,
        parts: [header],
      },
      ({ body }) => (body.readInt32LE(4) === ifindex && body.readUInt32LE(8) === HANDLE ? true : undefined),
    ),
  );
  return found.length > 0;
}

function withSocket<T>(ns: Netns, use: (socket: NetlinkSocket) => T): T {
  const socket = openNetlink(NETLINK_ROUTE, ns);
  try {
    return use(socket);
  } finally {
    socket.close();
  }
}

/** struct tcmsg */
function header(ifindex: number): Buffer {
  const message = Buffer.alloc(20);
  message.writeInt32LE(ifindex, 4);
  message.writeUInt32LE(HANDLE, 8);
  message.writeUInt32LE(ROOT, 12);
  return message;
}

/** struct tc_tbf_qopt: two of struct tc_ratespec, then limit, buffer, mtu. */
function tbfOptions({ bitsPerSecond, burst, queue }: Shape): Buffer {
  const rate = Math.max(1, Math.floor(bitsPerSecond / 8));
  const parameters = Buffer.alloc(36);
  parameters.writeUInt8(LINKLAYER_ETHERNET, 1);
  parameters.writeUInt32LE(Math.min(rate, 0xffffffff), 8);
  parameters.writeUInt32LE(queue, 24);
  const rate64 = Buffer.alloc(8);
  rate64.writeBigUInt64LE(BigInt(rate));
  return nested(TCA_OPTIONS, [
    attribute(TCA_TBF_PARMS, parameters),
    attribute(TCA_TBF_RATE64, rate64),
    u32(TCA_TBF_BURST, burst),
  ]);
}
