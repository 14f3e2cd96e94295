import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createStateFile } from './state-file.ts';

function statePath(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-state-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, 'deep', 'state.json');
}

test('what was saved is loaded; before the first save there is nothing', async (t) => {
  const file = createStateFile<{ n: number }>(statePath(t));
  assert.equal(await file.load(), undefined);
  await file.save(() => ({ n: 1 }));
  assert.deepEqual(await file.load(), { n: 1 });
});

test('savers that come together share a write, and each finds its own change in it', async (t) => {
  const path = statePath(t);
  const file = createStateFile<{ n: number }>(path);
  let n = 0;
  let reads = 0;
  const save = async () => {
    const mine = ++n;
    await file.save(() => {
      reads++;
      return { n };
    });
    const saved = JSON.parse(readFileSync(path, 'utf8')) as { n: number };
    assert.ok(saved.n >= mine, `${saved.n} < ${mine}`);
  };
  await Promise.all(Array.from({ length: 50 }, save));
  assert.ok(reads <= 3, `${reads} writes for 50 savers`);
});

test('idle waits for writes that nobody waits for', async (t) => {
  const path = statePath(t);
  const file = createStateFile<{ n: number }>(path);
  for (const n of [1, 2, 3]) void file.save(() => ({ n }));
  await file.idle();
  const saved = JSON.parse(readFileSync(path, 'utf8')) as { n: number };
  assert.ok(saved.n >= 2, 'the write that was waiting is done too');
});

test('a damaged file is refused by name', async (t) => {
  const path = statePath(t);
  const file = createStateFile<object>(path);
  await file.save(() => ({}));
  writeFileSync(path, '{"half');
  await assert.rejects(file.load(), { code: 'BadState', message: new RegExp(path) });
});
