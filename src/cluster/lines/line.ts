/**
 * One direction of a link: frames wait their time and go on in the order they came, or are lost as the link loses.
 * Pure: the clock, the dice and the way out are given. Times are milliseconds.
 */
import type { LinkSettings } from './values.ts';

export interface LineCounters {
  frames: number;
  bytes: number;
  /** By the loss asked for. */
  lost: number;
  /** The queue in front of the bandwidth was full, or all lines together held too much. */
  overflowed: number;
  /** Longer than the link carries. */
  tooLong: number;
  /** Milliseconds after their time, of all that waited, together: a machine that is short of processors is late. */
  late: number;
}

export interface Line {
  /** @param now when the frame came */
  take(frame: Uint8Array, now: number): void;
  /** When the first frame shall go on; Infinity where none waits. */
  readonly due: number;
  /** Hands on what is due. */
  release(now: number): void;
  /** From now on. What is on its way arrives no later than the new latency has it. */
  set(settings: LinkSettings, now: number): void;
  readonly counters: Readonly<LineCounters>;
}

export interface LineDeps {
  readonly settings: LinkSettings;
  /** 0 to 1, of the line's own seed. */
  random(): number;
  deliver(frame: Uint8Array): void;
  /** Bytes that all lines together may hold, and hold. */
  readonly room: { left: number };
}

/** Ethernet header. */
const HEADER = 14;
/** Seconds of the bandwidth that may wait for their turn, and at least some full frames. */
const QUEUE_SECONDS = 0.1;
const QUEUE_MIN = 16 * 1514;

interface Waiting {
  readonly frame: Uint8Array;
  due: number;
}

export function createLine({ settings: initial, random, deliver, room }: LineDeps): Line {
  let settings = initial;
  let waiting: Waiting[] = [];
  let first = 0;
  let lastDue = 0;
  /** When the last bit of what was taken has been sent. */
  let sentAt = 0;
  const counters: LineCounters = { frames: 0, bytes: 0, lost: 0, overflowed: 0, tooLong: 0, late: 0 };

  const tooLong = (length: number) =>
    length - HEADER > Math.min(settings.mtu ?? Infinity, settings.blackHoleAbove ?? Infinity);

  /** When its last bit is sent; undefined where the queue is full. */
  function transmitted(length: number, now: number): number | undefined {
    const { bandwidth } = settings;
    if (bandwidth === undefined) return now;
    const start = Math.max(now, sentAt);
    const queued = ((start - now) / 1000) * bandwidth;
    if (queued + length * 8 > Math.max(bandwidth * QUEUE_SECONDS, QUEUE_MIN * 8)) return undefined;
    return (sentAt = start + (length * 8 * 1000) / bandwidth);
  }

  function hold(frame: Uint8Array, due: number): void {
    if (frame.length > room.left) {
      counters.overflowed++;
      return;
    }
    room.left -= frame.length;
    lastDue = Math.max(lastDue, due);
    waiting.push({ frame, due: lastDue });
  }

  function pass(frame: Uint8Array): void {
    counters.frames++;
    counters.bytes += frame.length;
    deliver(frame);
  }

  return {
    counters,
    get due() {
      return waiting[first]?.due ?? Infinity;
    },
    take(frame, now) {
      const { latency = 0, jitter = 0, loss = 0 } = settings;
      if (tooLong(frame.length)) {
        counters.tooLong++;
        return;
      }
      // One throw per frame: the same seed loses the same frames of the same traffic.
      if (loss > 0 && random() < loss) {
        counters.lost++;
        return;
      }
      const sent = transmitted(frame.length, now);
      if (sent === undefined) {
        counters.overflowed++;
        return;
      }
      const due = sent + latency + (jitter > 0 ? (random() * 2 - 1) * jitter : 0);
      if (due <= now && first === waiting.length) pass(frame);
      else hold(frame, due);
    },
    release(now) {
      for (let next = waiting[first]; next && next.due <= now; next = waiting[++first]) {
        room.left += next.frame.length;
        counters.late += now - next.due;
        pass(next.frame);
      }
      // What was handed on is let go, in turns that cost little each.
      if (first === waiting.length || first > 1024) {
        waiting = waiting.slice(first);
        first = 0;
      }
    },
    set(changed, now) {
      settings = changed;
      const latest = now + (changed.latency ?? 0);
      for (const one of waiting.slice(first)) one.due = Math.min(one.due, latest);
      lastDue = waiting.at(-1)?.due ?? 0;
      sentAt = Math.min(sentAt, now);
    },
  };
}

/** Evenly spread numbers below 1 that the same seed and name give again (splitmix32). */
export function seededRandom(seed: number, name: string): () => number {
  let state = seed >>> 0;
  for (const char of name)
    state = (Math.imul(state ^ (char.codePointAt(0) ?? 0), 0x9e3779b1) + 0x7f4a7c15) >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}
