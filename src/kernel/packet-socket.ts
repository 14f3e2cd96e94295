/**
 * Whole frames of one link (packet(7)): what the kernel answers itself, or drops, is seen here too. Delivery is
 * best effort; what does not fit the receive buffer is gone.
 */
import fs from 'node:fs';
import { addressOf, errnoName, lastErrno, libc, systemError, watchFd } from './ffi.ts';
import { inNetns, type Netns } from './netns.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SOL_PACKET = 263;
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_MR_ALLMULTI = 2;
const MSG_DONTWAIT = 0x40;
/** Frames read in one turn of the event loop; the rest waits for the next. */
const FRAMES_PER_TURN = 64;

/** Instructions of classic BPF, see linux/filter.h. */
export type Filter = readonly (readonly [code: number, jt: number, jf: number, k: number])[];

export interface PacketSocketOptions {
  readonly ns?: Netns;
  /** Index of the link. */
  readonly link: number;
  /** EtherType to be given. */
  readonly protocol: number;
  /** Of what the protocol lets through; sees frames from their Ethernet header on. */
  readonly filter?: Filter;
  /** Frames to multicast groups too that nobody here has joined. */
  readonly allMulticast?: boolean;
  /** The frame is a copy and may be kept. */
  onFrame(frame: Buffer): void;
}

export interface PacketSocket {
  /** A whole frame, from its Ethernet header on. False where the link does not take it now. */
  send(frame: Uint8Array): boolean;
  close(): void;
}

const buffer = Buffer.allocUnsafeSlow(64 * 1024);

/** @throws HeddleError `Kernel` */
export function openPacketSocket(options: PacketSocketOptions): PacketSocket {
  const { ns, link, protocol, filter } = options;
  // Without a protocol nothing is delivered until `bind`, which is after the filter is there.
  const make = () => libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const fd = ns ? inNetns(ns, make) : make();
  if (fd < 0) throw systemError('open a packet socket');
  try {
    if (filter) attachFilter(fd, filter);
    if (options.allMulticast) joinAll(fd, link);
    const address = linkAddress(link, protocol);
    if (libc.bind(fd, address, address.length) !== 0)
      throw systemError(`bind a packet socket to link ${link}`);
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }

  function drain(): void {
    for (let i = 0; i < FRAMES_PER_TURN; i++) {
      if (!open) return;
      const length = libc.recv(fd, buffer, buffer.length, MSG_DONTWAIT);
      // ENETDOWN says once that the link went; it is bound on.
      if (length < 0 && errnoName(lastErrno()) === 'EAGAIN') return;
      if (length > 0) options.onFrame(Buffer.from(buffer.subarray(0, length)));
    }
  }

  let open = true;
  const watch = watchFd(fd, 'readable', drain, { keepAlive: false });
  return {
    send: (frame) => open && libc.send(fd, frame, frame.length, MSG_DONTWAIT) === frame.length,
    close() {
      if (!open) return;
      open = false;
      watch.close();
      // The descriptor leaves the event loop's tables at the end of this turn.
      setImmediate(() => fs.closeSync(fd));
    },
  };
}

/** struct sockaddr_ll */
function linkAddress(link: number, protocol: number): Buffer {
  const address = Buffer.alloc(20);
  address.writeUInt16LE(AF_PACKET, 0);
  address.writeUInt16BE(protocol, 2);
  address.writeInt32LE(link, 4);
  return address;
}

function attachFilter(fd: number, filter: Filter): void {
  const code = Buffer.alloc(filter.length * 8);
  for (const [i, [operation, jt, jf, k]] of filter.entries()) {
    code.writeUInt16LE(operation, i * 8);
    code.writeUInt8(jt, i * 8 + 2);
    code.writeUInt8(jf, i * 8 + 3);
    code.writeUInt32LE(k, i * 8 + 4);
  }
  // struct sock_fprog
  const program = Buffer.alloc(16);
  program.writeUInt16LE(filter.length, 0);
  program.writeBigUInt64LE(addressOf(code), 8);
  if (libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, program.length) !== 0)
    throw systemError('filter a packet socket');
}

/** struct packet_mreq; the kernel forgets it with the socket. */
function joinAll(fd: number, link: number): void {
  const membership = Buffer.alloc(16);
  membership.writeInt32LE(link, 0);
  membership.writeUInt16LE(PACKET_MR_ALLMULTI, 4);
  if (libc.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership, membership.length) !== 0)
    throw systemError(`hear all multicast of link ${link}`);
}
