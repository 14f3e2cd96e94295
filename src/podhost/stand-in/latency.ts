/** How long a stand-in thinks before it answers: written as text, drawn from a number between 0 and 1. */

/** Milliseconds. `percentiles` is a log-logistic distribution: of those with a long tail, the one easily inverted. */
export type Latency =
  | { kind: 'fixed'; ms: number }
  | { kind: 'uniform'; from: number; to: number }
  | { kind: 'percentiles'; p50: number; p99: number };

/** Nobody waits longer for an answer. */
const MOST_MS = 60_000;

const UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000 };

/** Milliseconds of `50ms`, `1.5s` or `200us`, at most a minute; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, amount, unit] = /^(\d{1,9}(?:\.\d{1,6})?)(us|ms|s)$/.exec(text.trim()) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  const ms = Number(amount) * UNITS[unit]!;
  return ms <= MOST_MS ? ms : undefined;
}

export const LATENCY_WORDS =
  'must be a duration up to 60s (50ms), uniform(10ms,50ms), or p50=20ms,p99=200ms with 0 < p50 <= p99';

/** Undefined: it says no latency. */
export function parseLatency(text: string): Latency | undefined {
  const compact = text.replaceAll(/\s+/g, '');
  const ms = parseDuration(compact);
  if (ms !== undefined) return { kind: 'fixed', ms };
  const uniform = /^uniform\((.*),(.*)\)$/.exec(compact);
  if (uniform) {
    const [from, to] = [parseDuration(uniform[1]!), parseDuration(uniform[2]!)];
    return from === undefined || to === undefined || from > to ? undefined : { kind: 'uniform', from, to };
  }
  const named = /^p50=(?<p50>[^,]*),p99=(?<p99>[^,]*)$/.exec(compact)?.groups;
  const [p50, p99] = [parseDuration(named?.['p50'] ?? ''), parseDuration(named?.['p99'] ?? '')];
  if (p50 === undefined || p99 === undefined || p50 === 0 || p50 > p99) return undefined;
  return { kind: 'percentiles', p50, p99 };
}

/** Milliseconds that a share `u` (0 to 1) of answers takes at most. */
export function latencyAt(latency: Latency, u: number): number {
  if (latency.kind === 'fixed') return latency.ms;
  if (latency.kind === 'uniform') return latency.from + u * (latency.to - latency.from);
  const { p50, p99 } = latency;
  // The tail ends: nobody wants one answer in a million to take a day.
  const share = Math.min(0.9999, Math.max(0.0001, u));
  return Math.min(MOST_MS, p50 * (share / (1 - share)) ** (Math.log(p99 / p50) / Math.log(99)));
}
