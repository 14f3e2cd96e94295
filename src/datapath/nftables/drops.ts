/** What pods and others may not send, dropped and counted by why: the words are those of every data path. */
import type { Counter } from '../backend.ts';
import type { NamedCounter } from './objects.ts';

const REASONS = [
  'denied',
  'redirect',
  'router-advertisement',
  'spoofed',
  'tunnel',
  'unknown-link',
  'wrong-mac',
] as const;
type Reason = (typeof REASONS)[number];

const nameOf = (reason: Reason): string => `drop-${reason}`;

/** The end of a rule. */
export const dropAs = (reason: Reason): string => `counter name "${nameOf(reason)}" drop`;

export const dropCounters: readonly NamedCounter[] = REASONS.map((reason) => ({
  type: 'counter',
  name: nameOf(reason),
}));

/** One by one: all counters of the table may be tens of thousands. */
export function readDrops(list: (command: string) => unknown, table: string): Map<string, Counter> {
  return new Map(
    REASONS.flatMap((reason) => {
      const listing = list(`list counter ${table} ${nameOf(reason)}`) as {
        nftables?: { counter?: Counter }[];
      };
      const counter = listing.nftables?.find((item) => item.counter)?.counter;
      return counter ? [[reason, { packets: counter.packets, bytes: counter.bytes }] as const] : [];
    }),
  );
}
