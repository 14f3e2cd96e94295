import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compile, createCompiler } from '../../policy/compile.ts';
import { stagedWorlds } from '../../policy/testing/arbitraries.ts';
import type { PolicyTables } from '../../policy/tables.ts';
import { countedAs, createPairs, decidedBy } from './pairs.ts';
import { policyChanges } from './policy-changes.ts';
import { applyChanges, emptyState } from './tables.ts';

/** What the plan holds after these policies, one after the other. */
function planned(list: readonly PolicyTables[], hash?: (text: string) => number) {
  const pairs = createPairs(hash);
  const state = emptyState();
  let before: PolicyTables | undefined;
  for (const tables of list) {
    applyChanges(state, pairs.add(policyChanges(before, tables, 'node-1'), tables));
    before = tables;
  }
  return state;
}

const sorted = <K, V>(map: ReadonlyMap<K, V>): [K, V][] =>
  [...map].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));

test('numbers of pairs depend on the policy as it is, also where texts collide', () => {
  const few = (text: string) => 0x80000000 + (text.length % 3);
  for (const hash of [undefined, few])
    fc.assert(
      fc.property(fc.array(stagedWorlds, { minLength: 1, maxLength: 4 }), (worlds) => {
        const compileNext = createCompiler();
        const list = worlds.map((world) => compileNext(world, { onlyNode: 'node-1' }));
        const [all, last] = [planned(list, hash), planned(list.slice(-1), hash)];
        assert.deepEqual(sorted(all.rules), sorted(last.rules));
        assert.deepEqual(sorted(all.policies), sorted(last.policies));
      }),
      { numRuns: 150 },
    );
});

test('an entry is counted as one number, which stands for its enforced rule and its audited one', () => {
  let met = 0;
  fc.assert(
    fc.property(stagedWorlds, (world) => {
      const tables = compile(world);
      const { policies, rules } = planned([tables]);
      for (const [number, table] of tables.tables)
        for (const [i, entry] of table.entries.entries()) {
          const counted = countedAs(policies.get(`${number}`)!.entries[i]!);
          const by = decidedBy(counted, (each) => rules.get(`${each}`));
          const audit = entry.audit && { verdict: entry.audit.verdict, rule: entry.audit.rule };
          assert.deepEqual(by, { rule: entry.rule, ...(audit ? { audit } : {}) });
          if (!audit) continue;
          met++;
          assert.equal(rules.get(`${counted}`)?.verdict, entry.verdict);
          assert.ok(!tables.rules.has(counted), 'it is no rule’s own number');
        }
    }),
    { numRuns: 200 },
  );
  assert.ok(met > 0);
});
