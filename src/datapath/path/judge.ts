/**
 * Whether a path carries packets as large as they may be: proved, no path at all, or a black hole, where small ones
 * arrive and large ones never do. A path that loses many packets of either size is no black hole: that is only said
 * where chance would make it so once in a million times. Pure but for the probe it is given.
 */

/** Milliseconds until the answer; undefined where none came in `timeoutMs`. */
export type Probe = (length: number, timeoutMs: number) => Promise<number | undefined>;

type Answer = ReturnType<Probe>;

export type PathVerdict =
  | { readonly state: 'proved'; readonly rtt: number; readonly loss: number }
  | { readonly state: 'unreachable' }
  /** So many are lost that nothing can be said of sizes. */
  | { readonly state: 'lossy'; readonly loss: number }
  | {
      readonly state: 'black-hole';
      /** Largest that arrives, and the least above it that does not. */
      readonly passes: number;
      readonly fails: number;
      readonly rtt: number;
      /** Of small ones. */
      readonly loss: number;
    };

export interface JudgeOptions {
  readonly probe: Probe;
  /** Bytes of the largest packet that must arrive. */
  readonly full: number;
  /** Bytes of one that every path carries. */
  readonly small: number;
}

const FIRST_TIMEOUT = 3000;
/** A slow machine answers late, whatever the path does. */
export const LEAST_TIMEOUT = 1000;
const FEW = 8;
const PAIRS = 12;
const MOST_PAIRS = 96;
const CHANCE = 1e-6;
/** That a size is called too large by mistake. */
const MISTAKE = 1e-4;

export async function judgePath({ probe, full, small }: JudgeOptions): Promise<PathVerdict> {
  const first = await probe(full, LEAST_TIMEOUT);
  if (first !== undefined) return { state: 'proved', rtt: first, loss: 0 };
  const little = () => several(FEW, () => probe(small, FIRST_TIMEOUT));
  const some = await little();
  const early = some.length > 0 ? some : await little();
  if (early.length === 0) return { state: 'unreachable' };
  const timeout = Math.max(LEAST_TIMEOUT, 4 * Math.max(...early));
  const rtts = [...early];
  let sent = 0;
  let passed = 0;
  while (sent < MOST_PAIRS) {
    const [short, large] = await inTurns(
      PAIRS,
      () => probe(small, timeout),
      () => probe(full, timeout),
    );
    sent += PAIRS;
    passed += short.length;
    rtts.push(...short);
    const loss = 1 - passed / sent;
    if (large.length > 0) return { state: 'proved', rtt: least(large), loss };
    if (passed === 0) return { state: 'unreachable' };
    if (chanceOf(passed, sent) >= CHANCE) continue;
    const edge = await searchEdge(probe, { small, full, timeout, loss: (sent - passed + 1) / (sent + 2) });
    // A large one came through after all.
    if (edge.passes >= full) return { state: 'proved', rtt: least(rtts), loss };
    // Whoever died meanwhile answers nothing.
    if ((await several(PAIRS, () => probe(small, timeout))).length === 0) return { state: 'unreachable' };
    return { state: 'black-hole', ...edge, rtt: least(rtts), loss };
  }
  return { state: 'lossy', loss: 1 - passed / sent };
}

/** Answers of `count` probes that are on their way together. */
async function several(count: number, probe: () => Promise<number | undefined>): Promise<number[]> {
  const answers = await Promise.all(Array.from({ length: count }, probe));
  return answers.filter((rtt) => rtt !== undefined);
}

/** One of each after the other: an end that dies, or a full queue, meets both alike. */
async function inTurns(count: number, one: () => Answer, other: () => Answer): Promise<[number[], number[]]> {
  const pairs = Array.from({ length: count }, () => [one(), other()] as const);
  const answered = async (answers: readonly Answer[]) =>
    (await Promise.all(answers)).filter((rtt) => rtt !== undefined);
  return [await answered(pairs.map(([rtt]) => rtt)), await answered(pairs.map(([, rtt]) => rtt))];
}

const least = (values: readonly number[]): number => Math.min(...values);

/** If both sizes were lost alike: how likely are all `passed` of 2 × `sent` among the small half (Fisher's exact test)? */
export function chanceOf(passed: number, sent: number): number {
  let chance = 1;
  for (let i = 0; i < passed; i++) chance *= (sent - i) / (2 * sent - i);
  return chance;
}

/** Sizes that are tried at once: more would not fit the queue of a slow link. */
const AT_ONCE = 3;

/** Evenly spread, in order; at least one where there is any. */
const between = (least: number, most: number): number[] => [
  ...new Set(
    Array.from({ length: AT_ONCE }, (_, i) => least + Math.ceil(((most - least) * (i + 1)) / (AT_ONCE + 1))),
  ).difference(new Set([most])),
];

interface Range {
  readonly small: number;
  readonly full: number;
  readonly timeout: number;
  /** Share of small ones, never taken for none. */
  readonly loss: number;
}

async function searchEdge(
  probe: Probe,
  { small, full, timeout, loss }: Range,
): Promise<{ passes: number; fails: number }> {
  const tries = Math.min(60, Math.ceil(Math.log(MISTAKE) / Math.log(loss)));
  const arrives = async (length: number) => (await several(tries, () => probe(length, timeout))).length > 0;
  let [passes, fails] = [small, full];
  for (;;) {
    while (fails - passes > 1) {
      const sizes = between(passes, fails);
      const arrived = await Promise.all(sizes.map(arrives));
      const largest = arrived.lastIndexOf(true);
      [passes, fails] = [sizes[largest] ?? passes, sizes[largest + 1] ?? fails];
    }
    // The edge once more: where chance took all of that size, the search goes on above it.
    if (!(await arrives(fails))) return { passes, fails };
    if (fails >= full) return { passes: full, fails: full };
    [passes, fails] = [fails, full];
  }
}
