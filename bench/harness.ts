/**
 * How a benchmark is run: ours and the peer take turns, in an order that changes from pair to pair, so that what
 * the machine does beside it meets both alike. Reported are medians, their spread, and the ratio of each
 * pair with a 95 % interval of its median; a claim is the interval's lower bound.
 */
export interface Contender {
  readonly name: string;
  /** One measurement, in the benchmark's unit. */
  measure(): Promise<number>;
}

export interface Benchmark {
  readonly name: string;
  readonly unit: string;
  /** Whether a larger figure is the better one. */
  readonly larger: boolean;
  readonly ours: Contender;
  readonly peers: readonly Contender[];
  /** How many, where the usual number is not enough. */
  readonly pairs?: number;
  close(): Promise<void>;
}

export interface Spread {
  readonly name: string;
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
}

export interface Ratio {
  readonly peer: string;
  /** Ours over theirs where larger is better, else theirs over ours: above 1 we are ahead. */
  readonly median: number;
  /** 95 % interval of the median, by the binomial distribution of ranks. */
  readonly low: number;
  readonly high: number;
}

export interface Result {
  readonly name: string;
  readonly ours: Spread;
  readonly peers: readonly Spread[];
  readonly ratio: readonly Ratio[];
  readonly unit: string;
  readonly runs: number;
}

const quantile = (sorted: readonly number[], q: number): number => {
  const at = (sorted.length - 1) * q;
  const [low, high] = [sorted[Math.floor(at)] ?? Number.NaN, sorted[Math.ceil(at)] ?? Number.NaN];
  return low + (high - low) * (at - Math.floor(at));
};

export function spread(name: string, figures: readonly number[]): Spread {
  const sorted = figures.toSorted((a, b) => a - b);
  return { name, median: quantile(sorted, 0.5), p10: quantile(sorted, 0.1), p90: quantile(sorted, 0.9) };
}

/** Ranks (from 0) of the smallest interval around the median that holds it with at least 95 %. */
export function medianInterval(n: number): readonly [number, number] {
  let probability = 1 / 2 ** n;
  let below = 0;
  let rank = 0;
  // The interval between the k-th and the (n-1-k)-th misses the median with twice P(X <= k).
  for (let k = 0; k < Math.floor(n / 2); k++) {
    below += probability;
    if (2 * below > 0.05) break;
    rank = k + 1;
    probability = (probability * (n - k)) / (k + 1);
  }
  return [Math.max(0, rank - 1), n - Math.max(1, rank)];
}

export function ratioOf(
  benchmark: Pick<Benchmark, 'larger'>,
  peer: string,
  ours: readonly number[],
  theirs: readonly number[],
): Ratio {
  const pairs = ours.map((our, i) => {
    const their = theirs[i] ?? Number.NaN;
    return benchmark.larger ? our / their : their / our;
  });
  const sorted = pairs.toSorted((a, b) => a - b);
  const [low, high] = medianInterval(sorted.length);
  return {
    peer,
    median: quantile(sorted, 0.5),
    low: sorted[low] ?? Number.NaN,
    high: sorted[high] ?? Number.NaN,
  };
}

/** One warm-up round, then `pairs` rounds in which every contender is measured once. */
export async function run(
  benchmark: Benchmark,
  pairs: number,
  onRound: (done: number) => void = () => {},
): Promise<Result> {
  const contenders = [benchmark.ours, ...benchmark.peers];
  const figures = new Map(contenders.map((contender) => [contender, [] as number[]]));
  for (const contender of contenders) await contender.measure();
  for (let i = 0; i < pairs; i++) {
    const shift = i % contenders.length;
    for (const contender of [...contenders.slice(shift), ...contenders.slice(0, shift)])
      figures.get(contender)?.push(await contender.measure());
    onRound(i + 1);
  }
  const of = (contender: Contender): number[] => figures.get(contender) ?? [];
  return {
    name: benchmark.name,
    ours: spread(benchmark.ours.name, of(benchmark.ours)),
    peers: benchmark.peers.map((peer) => spread(peer.name, of(peer))),
    ratio: benchmark.peers.map((peer) => ratioOf(benchmark, peer.name, of(benchmark.ours), of(peer))),
    unit: benchmark.unit,
    runs: pairs,
  };
}
