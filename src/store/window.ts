/** The remembered events, oldest first, bounded by number and bytes. */
import type { StoreEvent } from './types.ts';

export interface WindowLimits {
  readonly events: number;
  readonly bytes: number;
}

export interface EventWindow {
  readonly size: number;
  push(event: StoreEvent): void;
  /** Events after `revision`, oldest first. */
  after(revision: number): StoreEvent[];
  /** Takes out what is over the limits; oldest first, empty while within them. */
  trim(): StoreEvent[];
}

/** Characters of the texts that the event alone keeps alive. */
const sizeOf = (event: StoreEvent) => 200 + event.key.length + (event.before?.value.length ?? 0);

/** Trimming goes this far below the limits, so that it happens seldom. */
const SLACK = 0.8;

export function createWindow(limits: WindowLimits): EventWindow {
  let events: StoreEvent[] = [];
  let bytes = 0;
  return {
    get size() {
      return events.length;
    },
    push(event) {
      events.push(event);
      bytes += sizeOf(event);
    },
    after(revision) {
      let low = 0;
      let high = events.length;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (events[middle]!.revision <= revision) low = middle + 1;
        else high = middle;
      }
      return events.slice(low);
    },
    trim() {
      if (events.length <= limits.events && bytes <= limits.bytes) return [];
      let count = 0;
      while (
        count < events.length &&
        (events.length - count > limits.events * SLACK || bytes > limits.bytes * SLACK)
      )
        bytes -= sizeOf(events[count++]!);
      const trimmed = events.slice(0, count);
      events = events.slice(count);
      return trimmed;
    },
  };
}
