/** Every frontend of the plan in the kernel, by differences. */
import type { Difference } from '../../backend.ts';
import type { ServiceFrontend, Settings } from '../../plan/tables.ts';
import { stageChange } from './changes.ts';
import { compareWith, readKernel, type Reading } from './compare.ts';
import { type Known, type Lowered, type LoweredBackend, lowerFrontend } from './lower.ts';
import { createNumbers } from './numbers.ts';
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

export function createServiceTable(maps: StagedMaps, records: Records): ServiceTable {
  let entries = new Map<string, Lowered>();
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
    for (const { backends } of entries.values())
      for (const { number } of backends) fresh.above({ backend: number });
    for (const { number } of found.frontends.values()) fresh.above({ frontend: number });
    const lowered = new Map<string, Lowered>();
    for (const [key, service] of services) {
      const known = entries.get(key) ?? unclaimed(found.frontends.get(key), taken);
      const entry = lowerFrontend(service, fresh, known);
      lowered.set(key, entry);
      stageChange(stage, records, undefined, entry);
    }
    const wanted = rangesOf(settings);
    stageRanges(stage, records, new Map(), wanted);
    return { lowered, ranges: wanted, numbers: fresh };
  }

  return {
    apply(services, settings) {
      const stage = createStage(maps);
      const gone: Gone[] = [];
      const next: [string, Lowered | undefined][] = [];
      for (const [key, service] of services) {
        const before = entries.get(key);
        const after = service && lowerFrontend(service, numbers, before);
        for (const backend of stageChange(stage, records, before, after))
          if (before) gone.push({ frontend: before.source, backend });
        next.push([key, after]);
      }
      const wanted = settings ? rangesOf(settings) : ranges;
      stageRanges(stage, records, ranges, wanted);
      stage.commit();
      for (const [key, entry] of next) {
        if (entry) entries.set(key, entry);
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
      entries = wanted.lowered;
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
    lowered: (key) => entries.get(key),
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
