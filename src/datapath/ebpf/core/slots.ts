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
  /** Gives slots to these rules. Counters of a slot that is given begin at 0. */
  take(rules: Iterable<number>): boolean;
  /** Takes slots back. Only after no entry of the policy names these rules. */
  release(rules: readonly number[]): void;
  /** Takes slots back from all rules but these. */
  keep(rules: ReadonlyMap<unknown, { readonly number: number }>): boolean;
  /** Reads what an earlier run left. */
  load(): void;
}

const numberBytes = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
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
    const gone = rules.filter((rule) => byRule.has(rule));
    if (gone.length > 0) slots.deleteBatch(new Uint8Array(Uint32Array.from(gone).buffer), gone.length);
    for (const rule of gone) {
      free.push(byRule.get(rule) ?? 0);
      byRule.delete(rule);
    }
  }

  return {
    rules: byRule,
    of: (rule) => byRule.get(rule) ?? 0,
    take(rules) {
      const fresh: [number, number][] = [];
      for (const rule of new Set(rules)) {
        if (rule === 0 || byRule.has(rule)) continue;
        const slot = give();
        counters.update(numberBytes(slot), new Uint8Array(counters.valueSize));
        byRule.set(rule, slot);
        fresh.push([rule, slot]);
      }
      const join = (list: readonly number[]) => new Uint8Array(Uint32Array.from(list).buffer);
      if (fresh.length > 0)
        slots.updateBatch(
          join(fresh.map(([rule]) => rule)),
          join(fresh.map(([, slot]) => slot)),
          fresh.length,
        );
      return fresh.length > 0;
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
