/** Every frontend of the plan in the kernel, by differences. */
import type { Difference } from '../../backend.ts';
import type { ServiceFrontend, Settings } from '../../plan/tables.ts';
import { stageChange } from './changes.ts';
import { compareWith, readKernel, type Reading } from './compare.ts';
import {
  allBackends,
  isInline,
  type Known,
  type Lowered,
  type LoweredBackend,
  lowerFrontend,
} from './lower.ts';
import { createNumbers, type Numbers } from './numbers.ts';
import { type Ranges, rangesOf, stageRanges } from './ranges.ts';
import type { Records } from './records.ts';
import { createStage, type Stage, type StagedMaps } from './stage.ts';

export interface ServiceTable {
  /** Returns the backends that serve no more, with their protocol. */
  apply(services: ReadonlyMap<string, ServiceFrontend | undefined>, settings?: Settings): Gone[];
  prune(services: ReadonlyMap<string, ServiceFrontend>, settings: Settings | undefined): Difference[];
  verify(services: ReadonlyMap<string, ServiceFrontend>, settings: Settings | undefined): Difference[];
  lowered(key: string): Lowered | undefined;
}

export interface Gone {
  readonly frontend: ServiceFrontend;
  readonly backend: LoweredBackend;
}

/**
 * What is remembered of a frontend: the rest follows from its source, and takes several times as much memory. Ids
 * are the numbers of its backends, in order.
 */
interface Kept {
  readonly source: ServiceFrontend;
  readonly number: number;
  readonly ids: readonly number[];
  /** Tables that take long to work out. */
  readonly lowered?: Lowered;
}

function keep(lowered: Lowered): Kept {
  const { source, number, backends, inside, outside } = lowered;
  const ids = backends.length === 0 ? NONE : backends.map((backend) => backend.number);
  return isInline(inside) && isInline(outside) ? { source, number, ids } : { source, number, ids, lowered };
}

const NONE: readonly number[] = [];

function knownOf(kept: Kept | undefined): Known | undefined {
  if (!kept) return undefined;
  const { source, number, ids } = kept;
  return {
    number,
    backends: allBackends(source).map(({ address, port }, i) => ({ number: ids[i] ?? 0, address, port })),
  };
}

function expand(kept: Kept | undefined): Lowered | undefined {
  return kept && (kept.lowered ?? lowerFrontend(kept.source, DRAWN, knownOf(kept)));
}

/** Every backend of it has its number. */
const DRAWN: Numbers = createNumbers();

export function createServiceTable(maps: StagedMaps, records: Records): ServiceTable {
  let entries = new Map<string, Kept>();
  let ranges: Ranges = new Map();
  let numbers = createNumbers();

  /** Everything there shall be, told to `stage`. What has a number keeps it. */
  function lowerAll(
    stage: Stage,
    services: ReadonlyMap<string, ServiceFrontend>,
    settings: Settings | undefined,
    found: Reading,
  ) {
    const fresh = createNumbers();
    const taken = new Set([...entries.values()].map(({ number }) => number));
    fresh.above({ frontend: max(taken), backend: found.lastBackend });
    for (const { ids } of entries.values()) for (const id of ids) fresh.above({ backend: id });
    for (const { number } of found.frontends.values()) fresh.above({ frontend: number });
    const kept = new Map<string, Kept>();
    for (const [key, service] of services) {
      const known = knownOf(entries.get(key)) ?? unclaimed(found.frontends.get(key), taken);
      const entry = lowerFrontend(service, fresh, known);
      kept.set(key, keep(entry));
      stageChange(stage, records, undefined, entry);
    }
    const wanted = rangesOf(settings);
    stageRanges(stage, records, new Map(), wanted);
    return { kept, ranges: wanted, numbers: fresh };
  }

  return {
    apply(services, settings) {
      const stage = createStage(maps);
      const gone: Gone[] = [];
      const next: [string, Lowered | undefined][] = [];
      for (const [key, service] of services) {
        const before = expand(entries.get(key));
        const after = service && lowerFrontend(service, numbers, before);
        for (const backend of stageChange(stage, records, before, after))
          if (before) gone.push({ frontend: before.source, backend });
        next.push([key, after]);
      }
      const wanted = settings ? rangesOf(settings) : ranges;
      stageRanges(stage, records, ranges, wanted);
      stage.commit();
      for (const [key, entry] of next) {
        if (entry) entries.set(key, keep(entry));
        else entries.delete(key);
      }
      ranges = wanted;
      return gone;
    },
    prune(services, settings) {
      const found = readKernel(maps, records);
      const stage = createStage(maps);
      const comparison = compareWith(found, stage);
      const wanted = lowerAll(comparison.stage, services, settings, found);
      const differences = comparison.finish();
      stage.commit();
      entries = wanted.kept;
      ranges = wanted.ranges;
      numbers = wanted.numbers;
      return differences;
    },
    verify(services, settings) {
      const found = readKernel(maps, records);
      const comparison = compareWith(found, undefined);
      lowerAll(comparison.stage, services, settings, found);
      return comparison.finish();
    },
    lowered: (key) => expand(entries.get(key)),
  };
}

const max = (numbers: Iterable<number>): number => {
  let highest = 0;
  for (const number of numbers) highest = Math.max(highest, number);
  return highest;
};

/** A number that another frontend has would mix up their tables. */
function unclaimed(known: Known | undefined, taken: Set<number>): Known | undefined {
  if (!known || taken.has(known.number)) return undefined;
  taken.add(known.number);
  return known;
}
