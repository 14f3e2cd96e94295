/**
 * Peers that have gone without a word while something was on its way to them. TCP's keep-alives ask only where
 * nothing is in flight, and the kernel gives up sending again after a quarter of an hour. TCP_USER_TIMEOUT is no way
 * out: it also cuts who is there and takes nothing for a while (`logs -f | less`), for Linux counts from the first
 * question whether there is room again, answered or not. So the kernel is asked now and then who has fallen silent.
 */
import type { Socket } from 'node:net';
import { fdOf } from './peer.ts';
import { type TcpInfo, tcpInfo } from './tcp-info.ts';

/** Milliseconds between looks. */
const LOOK_MS = 10_000;
/** Of silence in spite of questions. */
const SILENT_MS = 90_000;

export interface LostPeers {
  watch(socket: Socket): void;
  close(): void;
}

export interface LostPeersOptions {
  onLost(socket: Socket): void;
  lookMs?: number;
  silentMs?: number;
}

export function watchForLost(options: LostPeersOptions): LostPeers {
  const { onLost, lookMs = LOOK_MS, silentMs = SILENT_MS } = options;
  const open = new Set<Socket>();
  const look = () => {
    for (const socket of open) {
      const info = tcpInfo(fdOf(socket));
      if (!info || !isLost(info, silentMs)) continue;
      onLost(socket);
      socket.destroy();
    }
  };
  const timer = setInterval(look, lookMs).unref();
  return {
    watch(socket) {
      open.add(socket);
      socket.once('close', () => open.delete(socket));
    },
    close: () => clearInterval(timer),
  };
}

/**
 * Who is there answers at once, but may be asked no more than every two minutes: nobody is lost who left but one
 * question open, and not before that one is old.
 */
export const isLost = ({ probes, retransmits, timeoutMs, silentMs }: TcpInfo, limitMs: number): boolean =>
  silentMs >= limitMs && (probes >= 2 || (retransmits >= 2 && silentMs >= 1.5 * timeoutMs));
