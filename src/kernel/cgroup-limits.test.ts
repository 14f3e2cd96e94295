import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { handDown, setLimits } from './cgroup-limits.ts';

test('limits are set where their controller is, and the others are named', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'heddle-test-cgroup-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const [upper, leaf] = [join(root, 'a'), join(root, 'a/b')];
  mkdirSync(leaf, { recursive: true });
  for (const path of [root, upper]) writeFileSync(join(path, 'cgroup.controllers'), 'cpu memory pids');
  writeFileSync(join(leaf, 'cgroup.controllers'), 'memory');
  assert.deepEqual(handDown(root, leaf), ['memory']);
  assert.equal(readFileSync(join(upper, 'cgroup.subtree_control'), 'utf8'), '+cpu');
  assert.throws(() => readFileSync(join(root, 'cgroup.subtree_control')), 'the machine’s own is left alone');
  assert.deepEqual(setLimits(leaf, { memory: 2 ** 20, cpu: 0.5 }), ['cpu']);
  assert.equal(readFileSync(join(leaf, 'memory.max'), 'utf8'), '1048576');
  writeFileSync(join(leaf, 'cgroup.controllers'), 'memory cpu');
  assert.deepEqual(setLimits(leaf, { cpu: 0.5 }), []);
  assert.equal(readFileSync(join(leaf, 'cpu.max'), 'utf8'), '50000 100000');
});
