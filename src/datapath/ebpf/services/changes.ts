/** From what a frontend was to what it shall be, as writes: what stays is not written again. */
import {
  chunkCount,
  chunkOf,
  type Lowered,
  type LoweredBackend,
  SIDE_INSIDE,
  SIDE_OUTSIDE,
  type SlotTable,
  tableNumber,
} from './lower.ts';
import { u32Bytes } from './fields.ts';
import type { Records } from './records.ts';
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
  if (!before) {
    for (const backend of after?.backends ?? [])
      stage.put('backends', u32Bytes(backend.number), records.backendValue(backend, after?.number ?? 0));
    return [];
  }
  const gone = new Map(before.backends.map((backend) => [backend.number, backend]));
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

const outsideOf = (lowered: Lowered | undefined): SlotTable =>
  lowered && lowered.outside !== lowered.inside ? lowered.outside : EMPTY;

function stageTables(
  stage: Stage,
  records: Records,
  before: Lowered | undefined,
  after: Lowered | undefined,
): void {
  const number = (after ?? before)?.number ?? 0;
  const inside = tableNumber(number, SIDE_INSIDE);
  stageTable(stage, records, inside, before?.inside ?? EMPTY, after?.inside ?? EMPTY);
  const outside = tableNumber(number, SIDE_OUTSIDE);
  stageTable(stage, records, outside, outsideOf(before), outsideOf(after));
}

function stageTable(stage: Stage, records: Records, table: number, was: SlotTable, is: SlotTable): void {
  const chunks = chunkCount(is);
  const had = chunkCount(was);
  for (let chunk = 0; chunk < chunks; chunk++) {
    const slots = chunkOf(is, chunk);
    if (chunk < had && sameSlots(chunkOf(was, chunk), slots)) continue;
    stage.put('service_tables', records.tableKey(table, chunk), chunkBytes(slots));
  }
  for (let chunk = chunks; chunk < had; chunk++) stage.drop('service_tables', records.tableKey(table, chunk));
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

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

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
