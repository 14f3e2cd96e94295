import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { removeTree } from './remove-tree.ts';
import { run } from './spawn.ts';
import { testFolder } from './test-netns.ts';

test('folders within folders go, also beyond the longest path that there is', async (t) => {
  const folder = join(testFolder(t), 'deep');
  mkdirSync(folder);
  const name = 'd'.repeat(100);
  const script = `i=0; while [ $i -lt 100 ]; do mkdir ${name} && cd -P ${name} || exit 1; i=$((i + 1)); done`;
  const { code, stderr } = await run(['sh', '-c', script], { cwd: folder });
  assert.equal(code, 0, stderr);
  await removeTree(folder);
  assert.ok(!existsSync(folder));
  await removeTree(folder);
});
