/**
 * A netlink socket: requests are answered before `send` returns, so talking to the kernel is synchronous.
 * One socket belongs to one namespace, for ever.
 */
import fs from 'node:fs';
import { HeddleError } from '../lib/errors.ts';
import { errnoHint, errnoName, errnoNumbers, lastErrno, libc, systemError } from './ffi.ts';
import {
  type Acknowledgement,
  encodeMessage,
  type Message,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_NOOP,
  parseAcknowledgement,
  parseMessages,
  type Request,
} from './netlink.ts';
import { inNetns, type Netns } from './netns.ts';

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SOL_NETLINK = 270;
/** Of a message in a dump: what is dumped changed meanwhile. */
const NLM_F_DUMP_INTR = 0x10;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
/** Requests in one send: their acknowledgements must fit the socket's receive buffer. */
const BATCH = 64;
const RECEIVE_SECONDS = 10;

/** One for all sockets: receiving and parsing are synchronous, and parsers copy what they keep. */
const buffer = Buffer.allocUnsafeSlow(256 * 1024);

export interface NetlinkSocket {
  readonly fd: number;
  /** One answer per request, in order; errors are answers here. */
  exchange(requests: readonly Request[]): Acknowledgement[];
  /** @throws HeddleError `Netlink` for the first request that failed */
  request(...requests: Request[]): void;
  /** Runs one request; false where it failed with one of `ignored` (errno names). */
  attempt(request: Request, ...ignored: string[]): boolean;
  /** A request whose answer is messages: `parse` sees each. */
  dump<T>(request: Request, parse: (message: Message) => T | undefined): T[];
  /** A request whose answer is one message; undefined where it failed with one of `ignored`. */
  get<T>(request: Request, parse: (message: Message) => T, ...ignored: string[]): T | undefined;
  close(): void;
}

export function netlinkError(request: Request, answer: Acknowledgement): HeddleError {
  const name = errnoName(answer.errno);
  const words = answer.words ? ` (${answer.words})` : '';
  return new HeddleError('Netlink', `cannot ${request.what}: ${name}${words}`, { hint: errnoHint(name) });
}

export function openNetlinkFd(protocol: number, ns: Netns | undefined): number {
  const open = () => libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  const fd = ns ? inNetns(ns, open) : open();
  if (fd < 0) throw systemError('open a netlink socket');
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  if (libc.bind(fd, address, address.length) !== 0) {
    const error = systemError('bind a netlink socket');
    fs.closeSync(fd);
    throw error;
  }
  return fd;
}

export function setOption(fd: number, level: number, name: number, value: number): boolean {
  const data = Buffer.alloc(4);
  data.writeInt32LE(value);
  return libc.setsockopt(fd, level, name, data, 4) === 0;
}

/** A lost answer must not hang the process: netlink answers at once or never. */
function setReceiveTimeout(fd: number): void {
  const timeval = Buffer.alloc(16);
  timeval.writeBigInt64LE(BigInt(RECEIVE_SECONDS), 0);
  libc.setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeval, timeval.length);
}

export function openNetlink(protocol: number, ns?: Netns): NetlinkSocket {
  const fd = openNetlinkFd(protocol, ns);
  setReceiveTimeout(fd);
  // Kernels without one of these say so here and work all the same, with fewer words.
  for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK]) setOption(fd, SOL_NETLINK, option, 1);
  if (protocol === NETLINK_ROUTE) setOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
  let sequence = 0;
  let open = true;

  function send(data: Buffer, what: string): void {
    if (libc.send(fd, data, data.length, 0) < 0) throw systemError(what);
  }

  function receive(what: string): Message[] {
    for (;;) {
      const length = libc.recv(fd, buffer, buffer.length, 0);
      if (length >= 0) return parseMessages(buffer.subarray(0, length));
      const errno = lastErrno();
      if (errno !== errnoNumbers['EINTR']) throw systemError(what, errno);
    }
  }

  function exchangeBatch(requests: readonly Request[]): Acknowledgement[] {
    const first = sequence + 1;
    const what = requests[0]?.what ?? 'talk to the kernel';
    send(Buffer.concat(requests.map((request) => encodeMessage(request, ++sequence, NLM_F_ACK))), what);
    const answers: Acknowledgement[] = [];
    for (let missing = requests.length; missing > 0; ) {
      for (const message of receive(what)) {
        const index = message.sequence - first;
        if (message.type !== NLMSG_ERROR || index < 0 || answers[index]) continue;
        answers[index] = parseAcknowledgement(message);
        missing--;
      }
    }
    return answers;
  }

  function exchange(requests: readonly Request[]): Acknowledgement[] {
    const answers: Acknowledgement[] = [];
    for (let i = 0; i < requests.length; i += BATCH)
      answers.push(...exchangeBatch(requests.slice(i, i + BATCH)));
    return answers;
  }

  function check(request: Request, answer: Acknowledgement | undefined, ignored: readonly string[]): boolean {
    if (!answer || answer.errno === 0) return true;
    if (ignored.includes(errnoName(answer.errno))) return false;
    throw netlinkError(request, answer);
  }

  /** Undefined: a change cut through the dump. */
  function collect<T>(request: Request, parse: (message: Message) => T | undefined) {
    const found: T[] = [];
    let interrupted = false;
    send(encodeMessage(request, ++sequence, NLM_F_DUMP), request.what);
    for (;;) {
      for (const message of receive(request.what)) {
        if (message.sequence !== sequence || message.type === NLMSG_NOOP) continue;
        interrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          const answer = parseAcknowledgement(message);
          if (answer.errno !== 0) throw netlinkError(request, answer);
          return interrupted ? undefined : found;
        }
        const value = parse(message);
        if (value !== undefined) found.push(value);
      }
    }
  }

  return {
    fd,
    exchange,
    request(...requests) {
      const answers = exchange(requests);
      for (const [i, request] of requests.entries()) check(request, answers[i], []);
    },
    attempt: (request, ...ignored) => check(request, exchange([request])[0], ignored),
    dump(request, parse) {
      for (let tries = 0; tries < 10; tries++) {
        const found = collect(request, parse);
        if (found) return found;
      }
      throw new HeddleError('Netlink', `cannot ${request.what}: it changed under every one of 10 readings`);
    },
    get(request, parse, ...ignored) {
      send(encodeMessage(request, ++sequence, 0), request.what);
      for (;;) {
        for (const message of receive(request.what)) {
          if (message.sequence !== sequence) continue;
          if (message.type !== NLMSG_ERROR) return parse(message);
          check(request, parseAcknowledgement(message), ignored);
          return undefined;
        }
      }
    },
    close() {
      if (open) fs.closeSync(fd);
      open = false;
    },
  };
}
