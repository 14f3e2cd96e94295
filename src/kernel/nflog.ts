/**
 * Packets that rules with `log group N` report, as the kernel of one namespace sends them. Delivery is
 * best effort: what the receive buffer could not hold is counted as lost, and never stops the listener.
 */
import fs from 'node:fs';
import { HeddleError } from '../lib/errors.ts';
import { errnoName, lastErrno, libc, systemError, watchFd } from './ffi.ts';
import { encodeMessage, NLM_F_ACK, NLMSG_ERROR, parseAcknowledgement, parseMessages } from './netlink.ts';
import { NETLINK_NETFILTER, netlinkError, openNetlinkFd, setOption } from './netlink-socket.ts';
import type { Netns } from './netns.ts';
import {
  configRequests,
  unbindRequest,
  type NflogPacket,
  type NflogSettings,
  parsePacket,
} from './nflog-codec.ts';

export type { NflogPacket } from './nflog-codec.ts';

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
/** Datagrams read in one turn of the event loop; the rest waits for the next. */
const DATAGRAMS_PER_TURN = 64;

export interface NflogOptions {
  ns?: Netns;
  /** 0 to 65535; one listener per group and namespace. */
  group: number;
  /** Called with what one wake-up brought, in order. Payloads are copies and may be kept. */
  onPackets(packets: NflogPacket[]): void;
  /** Bytes of each packet from its IP header on. Default 128: headers of any packet. */
  copyBytes?: number;
  /** Bytes that may wait unread. Default 4 MB. */
  receiveBuffer?: number;
  /** Packets the kernel gathers before it wakes us, at most 10 ms long. Default 32. */
  threshold?: number;
}

export interface NflogStats {
  readonly packets: number;
  /** By gaps in the kernel's own numbering. */
  readonly lost: number;
  /** Times that the receive buffer was full. */
  readonly overruns: number;
}

export interface Nflog {
  stats(): NflogStats;
  close(): void;
}

const buffer = Buffer.allocUnsafeSlow(256 * 1024);

/** @throws HeddleError `NflogBusy` where the group has a listener, `Netlink`, `Kernel` */
export function openNflog(options: NflogOptions): Nflog {
  const fd = openNetlinkFd(NETLINK_NETFILTER, options.ns);
  const stats = { packets: 0, lost: 0, overruns: 0 };
  let expected: number | undefined;

  function take(packet: NflogPacket): void {
    stats.packets++;
    if (packet.sequence === undefined) return;
    if (expected !== undefined) stats.lost += (packet.sequence - expected) >>> 0;
    expected = (packet.sequence + 1) >>> 0;
  }

  /** Packets of the next datagram; undefined when there is none. */
  function receive(): NflogPacket[] | undefined {
    const length = libc.recv(fd, buffer, buffer.length, MSG_DONTWAIT);
    if (length >= 0) return parseMessages(buffer.subarray(0, length)).flatMap((m) => parsePacket(m) ?? []);
    const code = errnoName(lastErrno());
    if (code === 'EAGAIN') return undefined;
    // ENOBUFS says that the kernel dropped; what is queued is still there to be read.
    if (code === 'ENOBUFS') stats.overruns++;
    else if (code !== 'EINTR') throw systemError('read from NFLOG');
    return [];
  }

  function drain(): void {
    const packets: NflogPacket[] = [];
    for (let i = 0; i < DATAGRAMS_PER_TURN; i++) {
      const more = receive();
      if (!more) break;
      for (const packet of more) {
        take(packet);
        packets.push(packet);
      }
    }
    if (packets.length > 0) options.onPackets(packets);
  }

  try {
    raiseBuffer(fd, options.receiveBuffer ?? 4 << 20);
    configure(fd, {
      group: options.group,
      copyBytes: options.copyBytes ?? 128,
      threshold: options.threshold ?? 32,
      delay: 1,
    });
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
  const watch = watchFd(fd, 'readable', drain, { keepAlive: false });
  let open = true;
  return {
    stats: () => ({ ...stats }),
    close() {
      if (!open) return;
      open = false;
      watch.close();
      // At once, for somebody else may want the group before this turn has ended. It sends what it held back.
      const leave = encodeMessage(unbindRequest(options.group), 0, 0);
      libc.send(fd, leave, leave.length, 0);
      drain();
      // The descriptor leaves the event loop's tables at the end of this turn.
      setImmediate(() => fs.closeSync(fd));
    },
  };
}

/** SO_RCVBUFFORCE goes beyond net.core.rmem_max, which needs CAP_NET_ADMIN in the first user namespace. */
function raiseBuffer(fd: number, bytes: number): void {
  if (!setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes)) setOption(fd, SOL_SOCKET, SO_RCVBUF, bytes);
}

/** One request at a time: packets may come between the answers once the group is bound. */
function configure(fd: number, settings: NflogSettings): void {
  for (const [i, request] of configRequests(settings).entries()) {
    const data = encodeMessage(request, i + 1, NLM_F_ACK);
    if (libc.send(fd, data, data.length, 0) < 0) throw systemError(request.what);
    const answer = awaitAnswer(fd, i + 1);
    if (answer.errno === 0) continue;
    if (isTaken(errnoName(answer.errno)))
      throw new HeddleError('NflogBusy', `NFLOG group ${settings.group} has a listener already`, {
        hint: 'another agent runs in this namespace',
      });
    throw netlinkError(request, answer);
  }
}

/** The kernel says EPERM of a group that another socket listens to; root has no other way to meet it. */
const isTaken = (code: string): boolean =>
  code === 'EBUSY' || (code === 'EPERM' && process.geteuid?.() === 0);

function awaitAnswer(fd: number, sequence: number) {
  for (;;) {
    const length = libc.recv(fd, buffer, buffer.length, 0);
    if (length < 0 && errnoName(lastErrno()) !== 'ENOBUFS') throw systemError('configure NFLOG');
    const messages = parseMessages(buffer.subarray(0, Math.max(0, length)));
    const answer = messages.find((m) => m.type === NLMSG_ERROR && m.sequence === sequence);
    if (answer) return parseAcknowledgement(answer);
  }
}
