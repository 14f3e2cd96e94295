/** From what a frontend was to what it shall be, as writes: what stays is not written again. */
import {
  chunkCount,
  chunkOf,
  type Lowered,
  type LoweredBackend,
  outsideTable,
  SIDE_INSIDE,
  SIDE_OUTSIDE,
  type SlotTable,
  tableNumber,
} from './lower.ts';
import { type Records, u32Bytes } from './records.ts';
import type { Stage } from './stage.ts';

const PRESENT = u32Bytes(1);

/** Adds to `stage` what turns `before` into `after`; either may be missing. Returns the backends that are gone. */
export function stageChange(
  stage: Stage,
  records: Records,
  before: Lowered | undefined,
  after: Lowered | undefined,
): LoweredBackend[] {
  stageTables(stage, records, before, after);
  stageSources(stage, records, before, after);
  stageFrontend(stage, records, before, after);
  return stageBackends(stage, records, before, after);
}

function stageBackends(
  stage: Stage,
  records: Records,
  before: Lowered | undefined,
  after: Lowered | undefined,
): LoweredBackend[] {
  const gone = new Map(before?.backends.map((backend) => [backend.number, backend]));
  for (const backend of after?.backends ?? []) {
    const known = gone.get(backend.number);
    gone.delete(backend.number);
    if (known && known.weight === backend.weight && known.flags === backend.flags) continue;
    stage.put('backends', u32Bytes(backend.number), records.backendValue(backend, after?.number ?? 0));
  }
  for (const number of gone.keys()) stage.drop('backends', u32Bytes(number));
  return [...gone.values()];
}

const EMPTY: SlotTable = new Uint32Array(0);

/** The tables of a frontend by number. */
export function tablesOf(lowered: Lowered | undefined): Map<number, SlotTable> {
  if (!lowered) return new Map();
  const tables = new Map([[tableNumber(lowered.number, SIDE_INSIDE), lowered.inside]]);
  if (outsideTable(lowered) === tableNumber(lowered.number, SIDE_OUTSIDE))
    tables.set(outsideTable(lowered), lowered.outside);
  return tables;
}

function stageTables(
  stage: Stage,
  records: Records,
  before: Lowered | undefined,
  after: Lowered | undefined,
): void {
  const old = tablesOf(before);
  const fresh = tablesOf(after);
  for (const table of new Set([...old.keys(), ...fresh.keys()])) {
    const was = old.get(table) ?? EMPTY;
    const is = fresh.get(table) ?? EMPTY;
    const chunks = chunkCount(is);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const slots = chunkOf(is, chunk);
      if (chunk < chunkCount(was) && sameSlots(chunkOf(was, chunk), slots)) continue;
      stage.put('service_tables', records.tableKey(table, chunk), chunkBytes(slots));
    }
    for (let chunk = chunks; chunk < chunkCount(was); chunk++)
      stage.drop('service_tables', records.tableKey(table, chunk));
  }
}

export const chunkBytes = (slots: Uint32Array): Uint8Array =>
  new Uint8Array(slots.buffer, slots.byteOffset, slots.byteLength);

const sameSlots = (a: Uint32Array, b: Uint32Array): boolean => a.every((slot, i) => slot === b[i]);

function stageFrontend(
  stage: Stage,
  records: Records,
  before: Lowered | undefined,
  after: Lowered | undefined,
): void {
  const present = after ?? before;
  if (!present) return;
  const key = records.frontendKey(present.source);
  if (!after) {
    stage.drop('frontends', key);
    return;
  }
  const value = records.frontendValue(after);
  if (before && sameBytes(value, records.frontendValue(before))) return;
  stage.put('frontends', key, value);
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

function stageSources(
  stage: Stage,
  records: Records,
  before: Lowered | undefined,
  after: Lowered | undefined,
): void {
  const gone = new Set(before?.source.sourceRanges);
  for (const cidr of after?.source.sourceRanges ?? [])
    if (!gone.delete(cidr)) stage.put('source_ranges', records.sourceKey(after?.number ?? 0, cidr), PRESENT);
  for (const cidr of gone) stage.drop('source_ranges', records.sourceKey(before?.number ?? 0, cidr));
}
