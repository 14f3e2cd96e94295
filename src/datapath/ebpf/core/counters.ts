/** Counters that the programs keep for each CPU, added up. */
import type { BpfMap } from '../../../kernel/bpf/map.ts';
import type { Counter } from '../../backend.ts';

const numberOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

/** Values of u64 words, `words` of them per CPU, summed over CPUs. */
export function sumWords(value: Uint8Array, words: number): number[] {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const sums = Array.from({ length: words }, () => 0n);
  for (let at = 0; at + 8 <= value.length; at += 8) {
    const i = (at / 8) % words;
    sums[i] = (sums[i] ?? 0n) + view.getBigUint64(at, true);
  }
  return sums.map(Number);
}

/** @param slots rule → slot */
export function readRuleCounters(
  map: Pick<BpfMap, 'lookup' | 'entries'>,
  slots: ReadonlyMap<number, number>,
): Map<number, Counter> {
  const wanted = new Map([...slots].map(([rule, slot]) => [slot, rule]));
  const out = new Map<number, Counter>();
  const take = (slot: number, value: Uint8Array) => {
    const rule = wanted.get(slot);
    const [packets = 0, bytes = 0] = sumWords(value, 2);
    if (rule !== undefined) out.set(rule, { packets, bytes });
  };
  // A look-up is a call each; the map, mostly empty, is 16,384 slots.
  if (slots.size > 1024) for (const [key, value] of map.entries()) take(numberOf(key), value);
  else
    for (const slot of wanted.keys()) {
      const value = map.lookup(new Uint8Array(Uint32Array.of(slot).buffer));
      if (value) take(slot, value);
    }
  return out;
}

/** A PERCPU_ARRAY of single u64. */
export function readCounts(map: Pick<BpfMap, 'lookup'>, indices: readonly number[]): number[] {
  return indices.map((index) => {
    const value = map.lookup(new Uint8Array(Uint32Array.of(index).buffer));
    return value ? (sumWords(value, 1)[0] ?? 0) : 0;
  });
}
