/**
 * Events about objects (core/v1), for people: best effort, never in the way. Repeats of the same thing become
 * one Event with a count; an object that has too many loses the rest.
 */
import { EVENT } from '../api/kinds.ts';
import type { Event, KubeObject } from '../api/types.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Client } from './types.ts';

export interface EventRecorder {
  /** Returns at once; the Event is written behind. `reason` is one CamelCase word. */
  event(about: unknown, type: 'Normal' | 'Warning', reason: string, message: string): void;
  /** Resolves when all that was said is written or given up. */
  flush(): Promise<void>;
}

export interface EventRecorderOptions {
  /** `deployment-controller` */
  component: string;
  /** The node it runs on, if one. */
  host?: string;
  log: Log;
  clock?: Clock;
}

interface Known {
  name: string;
  namespace: string;
  count: number;
  written: number;
}

/** Events waiting to be written, at most. */
const MAX_WAITING = 1000;
/** Different things remembered, to count repeats. */
const MAX_KNOWN = 4096;
/** Events for one object before they are limited, and milliseconds until one more is allowed. */
const BURST = 25;
const REFILL_MS = 60_000;

export function createEventRecorder(client: Client, options: EventRecorderOptions): EventRecorder {
  const { component, host, log, clock = systemClock } = options;
  const known = new Map<string, Known>();
  const allowance = new Map<string, { left: number; at: number }>();
  const waiting: (() => Promise<void>)[] = [];
  let writing: Promise<void> | undefined;
  let serial = 0;

  function allowed(uid: string): boolean {
    const now = clock.monotonic();
    const state = allowance.get(uid) ?? { left: BURST, at: now };
    const refill = Math.floor((now - state.at) / REFILL_MS);
    const left = Math.min(BURST, state.left + refill);
    allowance.delete(uid);
    allowance.set(uid, { left: Math.max(0, left - 1), at: state.at + refill * REFILL_MS });
    trim(allowance);
    return left > 0;
  }

  async function drain(): Promise<void> {
    for (let write = waiting.shift(); write; write = waiting.shift()) {
      await write().catch((error: unknown) => log.debug('event not written', { error: errorText(error) }));
    }
    writing = undefined;
  }

  function fresh(about: KubeObject, entry: Known, type: string, reason: string, message: string): Event {
    const { name, namespace, uid, resourceVersion } = about.metadata;
    const now = new Date(clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    return {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: entry.name, namespace: entry.namespace },
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name,
        namespace,
        uid,
        resourceVersion,
      },
      type,
      reason,
      message: message.slice(0, 1024),
      source: { component, ...(host ? { host } : {}) },
      reportingComponent: component,
      reportingInstance: host ?? '',
      firstTimestamp: now,
      lastTimestamp: now,
      count: entry.count,
    };
  }

  async function write(about: KubeObject, entry: Known, type: string, reason: string, message: string) {
    const count = entry.count;
    // A repeat that waited behind another one is already counted.
    if (count === entry.written) return;
    const event = fresh(about, entry, type, reason, message);
    const first = entry.written === 0;
    entry.written = count;
    if (first) await client.create(EVENT, event);
    else
      await client.patch(EVENT, entry.name, entry.namespace, {
        count,
        lastTimestamp: event.lastTimestamp,
      });
  }

  return {
    event(subject, type, reason, message) {
      const about = subject as KubeObject;
      const { name, namespace, uid = '' } = about.metadata;
      if (waiting.length >= MAX_WAITING || !allowed(uid || name)) return;
      const id = JSON.stringify([about.kind, namespace, name, uid, type, reason, message]);
      const unique = `${clock.now().toString(16)}${(serial++).toString(16).padStart(4, '0')}`;
      const entry = known.get(id) ?? {
        name: `${name}.${unique}`,
        namespace: namespace ?? 'default',
        count: 0,
        written: 0,
      };
      entry.count++;
      known.delete(id);
      known.set(id, entry);
      trim(known);
      waiting.push(async () => {
        try {
          await write(about, entry, type, reason, message);
        } catch (error) {
          // Next time as a new Event: this one may have been deleted, or never made.
          known.delete(id);
          throw error;
        }
      });
      writing ??= drain();
    },
    async flush() {
      await writing;
    },
  };
}

/** Maps keep their order of insertion: the least recently used goes first. */
function trim(map: Map<string, unknown>): void {
  while (map.size > MAX_KNOWN) map.delete(map.keys().next().value!);
}
