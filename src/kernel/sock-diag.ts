/** Sockets of a namespace as the kernel lists them (sock_diag(7)), and how they are cut. */
import { NLM_F_DUMP } from './netlink.ts';
import { type NetlinkSocket, openNetlink } from './netlink-socket.ts';
import type { Netns } from './netns.ts';

const NETLINK_SOCK_DIAG = 4;
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_UDP = 17;
const TCP_ESTABLISHED = 1;
/** struct inet_diag_sockid: ports, addresses, link, cookie. */
const ID_LENGTH = 48;
const ID_COOKIE = 40;
/** In struct inet_diag_msg, behind family, state, timer and retransmissions. */
const ID_IN_MESSAGE = 4;
/** In struct inet_diag_req_v2, behind family, protocol, extensions, padding and states. */
const ID_IN_REQUEST = 8;

export interface DiagSocket {
  readonly family: number;
  /** As `bpf_get_socket_cookie` tells it. */
  readonly cookie: bigint;
  /** struct inet_diag_sockid, as the kernel wrote it. */
  readonly id: Uint8Array;
}

export interface SockDiag {
  /** UDP sockets that are connected. */
  connectedUdp(): DiagSocket[];
  /**
   * Cuts a UDP socket: its owner's next call fails with ECONNABORTED, then it is unconnected. False where the socket
   * is gone or the kernel cannot (CONFIG_INET_DIAG_DESTROY).
   */
  destroyUdp(socket: DiagSocket): boolean;
  close(): void;
}

/** @throws HeddleError `Kernel`, `Netlink` where the kernel has no UDP diagnosis (CONFIG_INET_UDP_DIAG) */
export function openSockDiag(ns: Netns): SockDiag {
  const socket: NetlinkSocket = openNetlink(NETLINK_SOCK_DIAG, ns);
  return {
    connectedUdp: () =>
      [AF_INET, AF_INET6].flatMap((family) =>
        socket.dump(
          {
            type: SOCK_DIAG_BY_FAMILY,
            flags: NLM_F_DUMP,
            parts: [requestBody(family, 1 << TCP_ESTABLISHED)],
            what: 'list the UDP sockets',
          },
          ({ body }) => ({
            family,
            cookie: body.readBigUInt64LE(ID_IN_MESSAGE + ID_COOKIE),
            id: Uint8Array.from(body.subarray(ID_IN_MESSAGE, ID_IN_MESSAGE + ID_LENGTH)),
          }),
        ),
      ),
    destroyUdp: ({ family, id }) =>
      socket.attempt(
        {
          type: SOCK_DESTROY,
          flags: 0,
          parts: [requestBody(family, 0xffffffff, id)],
          what: 'cut a UDP socket',
        },
        'ENOENT',
        'EOPNOTSUPP',
        'EINVAL',
      ),
    close: () => socket.close(),
  };
}

function requestBody(family: number, states: number, id?: Uint8Array): Buffer {
  const body = Buffer.alloc(ID_IN_REQUEST + ID_LENGTH);
  body.writeUInt8(family, 0);
  body.writeUInt8(IPPROTO_UDP, 1);
  body.writeUInt32LE(states, 4);
  if (id) body.set(id, ID_IN_REQUEST);
  return body;
}
