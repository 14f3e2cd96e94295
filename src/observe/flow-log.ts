/** The newest flow events of a node, in memory: a ring that readers page through by sequence number. */
import type { FlowEvent, FlowPage } from './flow-event.ts';

export interface FlowLog {
  add(events: readonly Omit<FlowEvent, 'seq' | 'node'>[]): void;
  /** What came after `since`, oldest first, at most `limit` (default 20,000). */
  since(since: number, limit?: number): FlowPage;
  /** Records that the kernel could not deliver are counted with those that the ring overwrote unread. */
  kernelLost(count: number): void;
}

export interface FlowLogOptions {
  node: string;
  /** Events kept. Default 65,536, about 20 MB when full. */
  capacity?: number;
}

export function createFlowLog({ node, capacity = 65_536 }: FlowLogOptions): FlowLog {
  const ring: FlowEvent[] = [];
  let last = 0;
  let lost = 0;
  const at = (seq: number): FlowEvent | undefined => ring[(seq - 1) % capacity];
  return {
    add(events) {
      for (const event of events) {
        last++;
        ring[(last - 1) % capacity] = { seq: last, node, ...event };
      }
    },
    since(since, limit = 20_000) {
      const oldest = Math.max(1, last - capacity + 1);
      // Somebody who asks for more than there ever was knew the agent's predecessor: he gets everything.
      const first = since > last ? oldest : Math.max(oldest, since + 1);
      const end = Math.min(last, first + limit - 1);
      const events: FlowEvent[] = [];
      for (let seq = first; seq <= end; seq++) {
        const event = at(seq);
        if (event) events.push(event);
      }
      return { events, next: Math.max(end, first - 1), lost };
    },
    kernelLost(count) {
      lost += count;
    },
  };
}
