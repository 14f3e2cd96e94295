import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { replaceFile } from './files.ts';
import { createStateFile } from './state-file.ts';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), `heddle-test-${process.pid}-`));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('a file is replaced whole, with its mode, and nothing else is left', async (t) => {
  const at = await folder(t);
  const path = join(at, 'key');
  await replaceFile(path, 'a long first text', { mode: 0o600, synced: true });
  await replaceFile(path, 'second', { mode: 0o666, synced: false });
  assert.equal(await readFile(path, 'utf8'), 'second');
  assert.equal((await stat(path)).mode & 0o777, 0o666, 'the umask changed the mode');
  assert.deepEqual(await readdir(at), ['key']);
});

test('what cannot be replaced stays, and nothing half-written is left', async (t) => {
  const at = await folder(t);
  // A folder cannot be replaced by a file.
  await createStateFile(join(at, 'taken', 'inner')).save(() => 1);
  await assert.rejects(replaceFile(join(at, 'taken'), 'text', { mode: 0o600, synced: true }));
  assert.deepEqual(await readdir(at), ['taken']);
});

test('a state file holds what was current when the save was asked for, or later', async (t) => {
  const path = join(await folder(t), 'deep', 'state.json');
  const file = createStateFile<number>(path);
  assert.equal(await file.load(), undefined);
  let current = 0;
  const saves = [1, 2, 3].map(async (next) => {
    current = next;
    await file.save(() => current);
    const saved = await createStateFile<number>(path).load();
    assert.ok(saved !== undefined && saved >= next, `${saved} was saved, not ${next}`);
  });
  await Promise.all(saves);
  assert.equal(await createStateFile<number>(path).load(), 3);
});

test('a state file that is damaged is said to be', async (t) => {
  const path = join(await folder(t), 'state.json');
  await replaceFile(path, '{"version": 1', { mode: 0o600, synced: false });
  await assert.rejects(createStateFile(path).load(), { code: 'BadState' });
});
