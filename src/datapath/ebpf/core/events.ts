/** What the programs wrote to `policy_events` → policy events, for whoever listens. */
import { openRing, type Ring } from '../../../kernel/bpf/ring.ts';
import type { PolicyEvent } from '../../backend.ts';
import type { Programs } from '../loader.ts';
import { addressText, swapPort } from '../services/address-bytes.ts';

interface EventRecord {
  readonly time: bigint;
  readonly rule: number;
  readonly verdict: number;
  readonly direction: number;
  readonly reply: number;
  readonly family: number;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
  readonly sport: number;
  readonly dport: number;
  readonly protocol: number;
}

type Listener = (events: readonly PolicyEvent[]) => void;

export interface Events {
  listen(listener: Listener): () => void;
  close(): void;
}

/** VERDICT_ALLOW and VERDICT_AUDIT_DENY: everything else drops the packet. */
const PASSES: ReadonlySet<number> = new Set([0, 2]);
const EGRESS = 1;

/** @param now milliseconds since 1970 */
export function createEvents(programs: Pick<Programs, 'map' | 'codec'>, now: () => number): Events {
  const codec = programs.codec<EventRecord>('struct policy_event');
  const listeners = new Set<Listener>();
  let batch: PolicyEvent[] = [];
  let ring: Ring | undefined;

  /** The programs' clock began when the machine did, and ours may have been set since. */
  const offsetMs = (): number => now() - Number(process.hrtime.bigint()) / 1e6;

  function deliver(): void {
    const events = batch;
    batch = [];
    if (events.length > 0) for (const listener of listeners) listener(events);
  }

  function open(): Ring {
    let offset = offsetMs();
    return openRing({
      map: programs.map('policy_events'),
      onRecord(bytes, at) {
        if (batch.length === 0) offset = offsetMs();
        batch.push(policyEvent(codec.decode(bytes, at), offset));
      },
      onDrained: deliver,
    });
  }

  function close(): void {
    ring?.close();
    ring = undefined;
    listeners.clear();
  }

  return {
    listen(listener) {
      listeners.add(listener);
      ring ??= open();
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) close();
      };
    },
    close,
  };
}

const policyEvent = (record: EventRecord, offsetMs: number): PolicyEvent => ({
  time: offsetMs + Number(record.time) / 1e6,
  rule: record.rule,
  verdict: PASSES.has(record.verdict) ? 'allow' : 'deny',
  direction: record.direction === EGRESS ? 'egress' : 'ingress',
  family: record.family === 4 ? 4 : 6,
  src: addressText(record.src),
  dst: addressText(record.dst),
  protocol: record.protocol,
  sport: swapPort(record.sport),
  dport: swapPort(record.dport),
  reply: record.reply !== 0,
});
