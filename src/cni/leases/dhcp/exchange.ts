/** Asking servers over one link, and waiting for what they say. */
import { closeNetns, openNetns } from '../../../kernel/netns.ts';
import { openPacketSocket } from '../../../kernel/packet-socket.ts';
import { errorText } from '../../../lib/errors.ts';
import { CniCode, CniError } from '../../error.ts';
import { withRoute } from '../../main/inside.ts';
import { type Ends, fromServer, IPV4, TO_CLIENT, toServer } from './frame.ts';
import { decodeMessage, type Told } from './message.ts';

export interface Heard extends Told {
  /** Who sent the frame: the server, or the relay's router on this link. */
  readonly from: string;
}

/** A link that can speak DHCP, for as long as it is open. */
export interface Line {
  readonly mac: string;
  send(from: string, to: Ends, message: Uint8Array): void;
  /** The first that `wanted` says yes to; undefined when `ms` have passed. */
  hear(ms: number, wanted: (told: Heard) => boolean, signal?: AbortSignal): Promise<Heard | undefined>;
  close(): void;
}

export type OpenLine = (link: { netns: string; ifName: string }) => Line;

/** @throws CniError where the link is not there any more */
export const openLine: OpenLine = ({ netns, ifName }) => {
  const ns = openOr(netns);
  const listeners = new Set<(told: Heard) => void>();
  try {
    const link = withRoute(ns, (route) => route.link(ifName));
    if (!link) throw new CniError(CniCode.unknownContainer, `there is no ${ifName} in ${netns}`);
    const socket = openPacketSocket({
      ns,
      link: link.index,
      protocol: IPV4,
      filter: TO_CLIENT,
      onFrame(frame) {
        const read = fromServer(frame);
        const told = read && decodeMessage(read.message);
        if (told) for (const listener of listeners) listener({ ...told, from: read.mac });
      },
    });
    return {
      mac: link.mac,
      send: (from, to, message) => void socket.send(toServer({ mac: link.mac, address: from }, to, message)),
      hear: (ms, wanted, signal) => hear(listeners, ms, wanted, signal),
      close: () => socket.close(),
    };
  } finally {
    closeNetns(ns);
  }
};

function openOr(path: string) {
  try {
    return openNetns(path);
  } catch (error) {
    throw new CniError(
      CniCode.unknownContainer,
      `the container's namespace ${path} is gone`,
      errorText(error),
    );
  }
}

function hear(
  listeners: Set<(told: Heard) => void>,
  ms: number,
  wanted: (told: Heard) => boolean,
  signal: AbortSignal | undefined,
): Promise<Heard | undefined> {
  return new Promise((resolve) => {
    const end = (told?: Heard) => {
      clearTimeout(timer);
      listeners.delete(listener);
      signal?.removeEventListener('abort', onAbort);
      resolve(told);
    };
    const listener = (told: Heard) => {
      if (wanted(told)) end(told);
    };
    const onAbort = () => end();
    const timer = setTimeout(end, ms);
    listeners.add(listener);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) end();
  });
}
