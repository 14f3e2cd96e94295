import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { needsBpf } from '../../../kernel/bpf/test-object.ts';
import { testBpffs } from '../../../kernel/test-netns.ts';
import { silentLog } from '../../../lib/log.ts';
import type { PolicyEntry, PolicyTable } from '../../../policy/tables.ts';
import { openPrograms } from '../loader.ts';
import { createRecords } from './records.ts';

const objectDir = join(import.meta.dirname, '../../../../build/bpf');
const RANGE = 8;

test('few ports are an entry each; of many peers they stay ranges', { skip: needsBpf }, (t) => {
  const programs = openPrograms({ objectDir, pinDir: testBpffs(t), log: silentLog, objects: ['from-pod'] });
  t.after(() => programs.close());
  const records = createRecords(programs);
  const entry = (identity: number, ports: readonly [number, number]): PolicyEntry => ({
    identity,
    protocol: 6,
    ports,
    verdict: 'allow',
    rule: 1,
  });
  const rowsOf = (identities: number, ports: readonly [number, number]) => {
    const table: PolicyTable = {
      number: 1,
      direction: 'ingress',
      defaultRule: 2,
      entries: Array.from({ length: identities }, (_, i) => entry(i + 1, ports)),
    };
    const names = records.policy(table, () => 1).map(({ map }) => map);
    const count = (name: string) => names.filter((each) => each === name).length;
    return { single: count('policy_entries'), ranges: count('policy_ranges') };
  };
  const last = 8080 + RANGE - 1;
  // And the default deny.
  assert.deepEqual(rowsOf(1, [8080, last]), { single: RANGE + 1, ranges: 0 });
  assert.deepEqual(rowsOf(1, [8080, last + 1]), { single: 1, ranges: 2 });
  assert.deepEqual(rowsOf(1000, [8080, 8080]), { single: 1001, ranges: 0 });
  assert.deepEqual(rowsOf(1000, [8080, last]), { single: 1, ranges: 1000 });
});
