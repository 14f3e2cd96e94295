/** What the kernel knows of a TCP connection and its peer (TCP_INFO, tcp(7)). */
import { libc } from './ffi.ts';

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** Of struct tcp_info, up to and with tcpi_last_ack_recv; the kernel fills what it is asked for. */
const LENGTH = 60;

export interface TcpInfo {
  /** Times that what is in flight was sent again since something of it was acknowledged. */
  readonly retransmits: number;
  /** Questions whether the peer takes more again, or is there, that have no answer yet. */
  readonly probes: number;
  /** Milliseconds until the next time that it is sent again; they double each time. */
  readonly timeoutMs: number;
  /** Milliseconds since the last acknowledgement, whatever it acknowledged. */
  readonly silentMs: number;
}

/** Undefined when the descriptor is no TCP socket. */
export function tcpInfo(fd: number): TcpInfo | undefined {
  const info = Buffer.alloc(LENGTH);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(LENGTH);
  if (libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, length) !== 0) return undefined;
  return {
    retransmits: info.readUInt8(2),
    probes: info.readUInt8(3),
    timeoutMs: info.readUInt32LE(8) / 1000,
    silentMs: info.readUInt32LE(56),
  };
}
