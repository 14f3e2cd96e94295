/** Who is talking to which pod; read once, because a socket forgets its addresses when it closes. */
import type { Socket } from 'node:net';
import type { Echo, StandInPod } from './types.ts';

export interface Connection {
  readonly pod: StandInPod;
  readonly peer: { address: string; port: number };
  readonly local: { address: string; port: number };
  echo(protocol: string): Echo;
}

export function connectionOf(pod: StandInPod, socket: Socket): Connection {
  return describe(
    pod,
    { address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 },
    { address: plainAddress(socket.localAddress ?? ''), port: socket.localPort ?? 0 },
  );
}

export function describe(
  pod: StandInPod,
  peer: { address: string; port: number },
  local: { address: string; port: number },
): Connection {
  const { name, namespace, node } = pod;
  return { pod, peer, local, echo: (protocol) => ({ pod: name, namespace, node, protocol, peer, local }) };
}

/** A socket of both families shows IPv4 peers as `::ffff:10.0.0.1` (RFC 4291 section 2.5.5.2). */
export const plainAddress = (address: string): string =>
  address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
