/** Packets that rules logged → policy events, for whoever listens. The kernel is asked once somebody does. */
import type { PolicyEvent } from '../backend.ts';
import { parsePacket } from '../packet.ts';

export interface LoggedPacket {
  readonly prefix: string;
  /** From the IP header on. */
  readonly payload: Uint8Array;
  /** Milliseconds since 1970. */
  readonly timestamp: number | undefined;
}

/** Opens the kernel's packet log of group `NFLOG_GROUP` in the node's namespace. */
export type OpenNflog = (onPackets: (packets: LoggedPacket[]) => void) => { close(): void };

type Listener = (events: readonly PolicyEvent[]) => void;

export function createEvents(open: OpenNflog | undefined, now: () => number) {
  const listeners = new Set<Listener>();
  let source: { close(): void } | undefined;

  function deliver(packets: LoggedPacket[]): void {
    const events = packets.flatMap((packet) => policyEvent(packet, now) ?? []);
    if (events.length > 0) for (const listener of listeners) listener(events);
  }

  function close(): void {
    source?.close();
    source = undefined;
    listeners.clear();
  }

  return {
    listen(listener: Listener): () => void {
      listeners.add(listener);
      source ??= open?.(deliver);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) close();
      };
    },
    close,
  };
}

/** See `logPrefix`. */
const PREFIX = /^heddle (ingress|egress) (allow|deny) ([0-9a-f]{8})( reply)?$/;

/** Undefined for what is not ours or cannot be read. */
export function policyEvent(packet: LoggedPacket, now: () => number): PolicyEvent | undefined {
  const words = PREFIX.exec(packet.prefix.trim());
  const flow = parsePacket(packet.payload);
  if (!words || !flow) return undefined;
  const reply = words[4] !== undefined;
  const swapped = { src: flow.dst, dst: flow.src, sport: flow.dport, dport: flow.sport };
  return {
    time: packet.timestamp ?? now(),
    rule: Number.parseInt(words[3] ?? '', 16),
    verdict: words[2] === 'allow' ? 'allow' : 'deny',
    direction: words[1] === 'egress' ? 'egress' : 'ingress',
    ...flow,
    ...(reply ? swapped : {}),
    reply,
  };
}
