/**
 * Rules have numbers for ever, and a place among the counters while a policy of this node has them. The kernel's map
 * remembers which, so that counts go on after a restart.
 */
import type { BpfMap } from '../../../kernel/bpf/map.ts';
import { HeddleError } from '../../../lib/errors.ts';

export interface Slots {
  /** Of a rule that `take` was given. */
  of(rule: number): number;
  /** The rule that has the slot. */
  readonly rules: ReadonlyMap<number, number>;
  /**
   * Gives slots to these rules. Counters of a slot that is given begin at 0.
   * @throws HeddleError `BpfMapFull`: none of them got one
   */
  take(rules: Iterable<number>): boolean;
  /** Takes slots back. Only after no entry of the policy names these rules. */
  release(rules: readonly number[]): void;
  /** Takes slots back from all rules but these. */
  keep(rules: ReadonlyMap<unknown, { readonly number: number }>): boolean;
  /** Reads what an earlier run left. */
  load(): void;
}

const numberBytes = (value: number): Uint8Array => numbersBytes([value]);
const numbersBytes = (list: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(list).buffer);
const numberOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

export interface SlotMaps {
  readonly slots: Pick<BpfMap, 'entries' | 'updateBatch' | 'deleteBatch'>;
  readonly counters: Pick<BpfMap, 'maxEntries' | 'valueSize' | 'update'>;
}

export function createSlots({ slots, counters }: SlotMaps): Slots {
  const byRule = new Map<number, number>();
  let free: number[] = [];
  /** Slot 0 is nobody's. */
  let next = 1;

  function give(): number {
    const slot = free.pop() ?? (next < counters.maxEntries ? next++ : undefined);
    if (slot === undefined)
      throw new HeddleError('BpfMapFull', `there are more than ${counters.maxEntries - 1} policy rules`, {
        hint: 'raise the size of rule_counters and event_limits in the datapath settings',
      });
    return slot;
  }

  function release(rules: readonly number[]): void {
    const gone = [...new Set(rules)].filter((rule) => byRule.has(rule));
    if (gone.length > 0) slots.deleteBatch(numbersBytes(gone), gone.length);
    for (const rule of gone) {
      free.push(byRule.get(rule) ?? 0);
      byRule.delete(rule);
    }
  }

  return {
    rules: byRule,
    of: (rule) => byRule.get(rule) ?? 0,
    take(rules) {
      const fresh = [...new Set(rules)].filter((rule) => rule !== 0 && !byRule.has(rule));
      if (fresh.length === 0) return false;
      const given: number[] = [];
      try {
        while (given.length < fresh.length) given.push(give());
        for (const slot of given) counters.update(numberBytes(slot), new Uint8Array(counters.valueSize));
        slots.updateBatch(numbersBytes(fresh), numbersBytes(given), fresh.length);
      } catch (error) {
        // A rule that the kernel's map does not have would lose its counter at the next restart.
        free.push(...given);
        throw error;
      }
      for (const [i, rule] of fresh.entries()) byRule.set(rule, given[i] ?? 0);
      return true;
    },
    release,
    keep(rules) {
      const kept = new Set(Iterator.from(rules.values()).map(({ number }) => number));
      const gone = [...byRule.keys()].filter((rule) => !kept.has(rule));
      release(gone);
      return gone.length > 0;
    },
    load() {
      byRule.clear();
      for (const [rule, slot] of slots.entries()) byRule.set(numberOf(rule), numberOf(slot));
      const used = new Set(byRule.values());
      next = Math.max(0, ...used) + 1;
      free = [];
      for (let slot = 1; slot < next; slot++) if (!used.has(slot)) free.push(slot);
    },
  };
}
