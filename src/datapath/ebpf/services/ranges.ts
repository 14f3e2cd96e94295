/** What the addresses of services without a frontend are, as bpf/include/service-maps.h says. */
import type { Settings } from '../../plan/tables.ts';
import { u32Bytes } from './fields.ts';
import type { Records } from './records.ts';
import type { Stage } from './stage.ts';

const RANGE_SERVICES = 1;
const RANGE_NODE_LOCAL = 2;

/** By range, as `10.96.0.0/12`. */
export type Ranges = ReadonlyMap<string, number>;

export function rangesOf(settings: Settings | undefined): Ranges {
  const ranges = new Map<string, number>();
  for (const cidr of settings?.serviceCidrs ?? []) ranges.set(cidr, RANGE_SERVICES);
  for (const address of settings?.nodeLocal ?? [])
    ranges.set(`${address}/${address.includes(':') ? 128 : 32}`, RANGE_NODE_LOCAL);
  return ranges;
}

export function stageRanges(stage: Stage, records: Records, before: Ranges, after: Ranges): void {
  for (const [cidr, range] of after)
    if (before.get(cidr) !== range) stage.put('service_ranges', records.rangeKey(cidr), u32Bytes(range));
  for (const cidr of before.keys())
    if (!after.has(cidr)) stage.drop('service_ranges', records.rangeKey(cidr));
}
