/**
 * Counters, gauges and histograms in Prometheus' text format (version 0.0.4). A process makes one registry
 * and hands it down; asking twice for a name gives the same metric.
 */
export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  /** `by` defaults to 1 and is not negative. */
  inc(labels?: Labels, by?: number): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
  add(by: number, labels?: Labels): void;
}

export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

export interface Metrics {
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string): Gauge;
  /** `buckets`: upper bounds, ascending, without +Inf. */
  histogram(name: string, help: string, buckets?: readonly number[]): Histogram;
  /**
   * Samples that somebody else keeps: read at each `text()`, so that a series which is gone is not listed. `read`
   * does not throw.
   */
  sampled(type: 'counter' | 'gauge', name: string, help: string, read: () => Iterable<Sample>): void;
  /** Runs before each `text()`: set gauges here that are cheap to read and dear to keep. */
  onCollect(collect: () => void): void;
  text(): string;
}

/** Seconds; from 0.5 ms to 30 s. */
const LATENCY_BUCKETS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  lines(name: string): string[];
}

const escapeLabel = (value: string) =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
const escapeHelp = (value: string) => value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');

function labelText(labels: Labels): string {
  const names = Object.keys(labels).toSorted();
  return names.map((name) => `${name}="${escapeLabel(labels[name] ?? '')}"`).join(',');
}

const braces = (labels: string) => (labels === '' ? '' : `{${labels}}`);
const numberText = (value: number) =>
  value === Infinity ? '+Inf' : value === -Infinity ? '-Inf' : String(value);

function createScalar(type: 'counter' | 'gauge', help: string): Family & Counter & Gauge {
  const values = new Map<string, number>();
  const add = (by: number, labels: Labels = {}) => {
    const key = labelText(labels);
    values.set(key, (values.get(key) ?? 0) + by);
  };
  return {
    type,
    help,
    add,
    inc: (labels, by = 1) => add(Math.max(0, by), labels),
    set: (value, labels = {}) => void values.set(labelText(labels), value),
    lines: (name) => [...values].map(([key, value]) => `${name}${braces(key)} ${numberText(value)}`),
  };
}

function createHistogram(help: string, buckets: readonly number[]): Family & Histogram {
  const series = new Map<string, { counts: number[]; sum: number; count: number }>();
  return {
    type: 'histogram',
    help,
    observe(value, labels = {}) {
      const key = labelText(labels);
      let one = series.get(key);
      if (!one) series.set(key, (one = { counts: Array<number>(buckets.length).fill(0), sum: 0, count: 0 }));
      const at = buckets.findIndex((bound) => value <= bound);
      if (at >= 0) one.counts[at] = (one.counts[at] ?? 0) + 1;
      one.sum += value;
      one.count++;
    },
    lines(name) {
      const lines: string[] = [];
      for (const [key, { counts, sum, count }] of series) {
        const prefix = key === '' ? '' : `${key},`;
        let total = 0;
        for (const [i, bound] of buckets.entries()) {
          total += counts[i] ?? 0;
          lines.push(`${name}_bucket{${prefix}le="${bound}"} ${total}`);
        }
        lines.push(`${name}_bucket{${prefix}le="+Inf"} ${count}`);
        lines.push(`${name}_sum${braces(key)} ${numberText(sum)}`, `${name}_count${braces(key)} ${count}`);
      }
      return lines;
    },
  };
}

export function createMetrics(): Metrics {
  const families = new Map<string, Family>();
  const collectors: (() => void)[] = [];
  const family = <T extends Family>(name: string, type: Family['type'], make: () => T): T => {
    const known = families.get(name);
    if (known && known.type !== type)
      throw new Error(`metric ${name} is a ${known.type} already, not a ${type}`);
    if (known) return known as T;
    const made = make();
    families.set(name, made);
    return made;
  };
  return {
    counter: (name, help) => family(name, 'counter', () => createScalar('counter', help)),
    gauge: (name, help) => family(name, 'gauge', () => createScalar('gauge', help)),
    histogram: (name, help, buckets = LATENCY_BUCKETS) =>
      family(name, 'histogram', () => createHistogram(help, buckets)),
    sampled: (type, name, help, read) =>
      void family(name, type, () => ({
        type,
        help,
        lines: (name) =>
          [...read()].map(
            ({ labels = {}, value }) => `${name}${braces(labelText(labels))} ${numberText(value)}`,
          ),
      })),
    onCollect: (collect) => void collectors.push(collect),
    text() {
      for (const collect of collectors) collect();
      return [...families]
        .flatMap(([name, one]) => [
          `# HELP ${name} ${escapeHelp(one.help)}`,
          `# TYPE ${name} ${one.type}`,
          ...one.lines(name),
        ])
        .join('\n')
        .concat('\n');
    },
  };
}
