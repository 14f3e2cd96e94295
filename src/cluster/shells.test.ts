import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createCgroup, findCgroup2Mount, moveToCgroup, removeCgroup } from '../kernel/cgroup.ts';
import { v1Hierarchies } from '../kernel/cgroup-v1.ts';
import { spawnIn } from '../kernel/spawn.ts';
import { RUN_ROOT } from './paths.ts';
import { findShells, removeShell } from './shells.ts';

const mount = findCgroup2Mount();

/** In a hierarchy of cgroup v1, as pods have them; none where the machine has no such that can be written. */
function legacyGroup(name: string): string[] {
  const path = join(v1Hierarchies()[0]?.own ?? '/', name);
  try {
    if (path !== `/${name}`) mkdirSync(join(path, 'node-1/pods'), { recursive: true });
  } catch {
    return [];
  }
  return existsSync(path) ? [path] : [];
}

test('what a cluster left in which nobody runs is found by its id alone, and removed', {
  skip: mount === undefined && 'this machine has no cgroup2 (not in CI)',
}, async (t) => {
  const id = randomBytes(4).toString('hex');
  const cgroup = join(mount ?? '', `heddle-${id}`);
  const runDir = join(RUN_ROOT, id);
  createCgroup(cgroup);
  createCgroup(join(cgroup, 'supervisor'));
  const legacy = legacyGroup(`heddle-${id}`);
  mkdirSync(runDir, { recursive: true });
  t.after(() => removeShell({ id, left: [] }));
  const found = (olderThan?: number) => findShells(olderThan).filter((shell) => shell.id === id);
  assert.deepEqual(found(), [], 'it may be on its way up');
  const later = Date.now() + 1000;
  assert.deepEqual(found(later), [{ id, left: [cgroup, ...legacy, runDir] }]);

  const process = spawnIn({ argv: ['sleep', '600'], stdio: 'ignore' });
  t.after(() => void process.kill('SIGKILL'));
  moveToCgroup(join(cgroup, 'supervisor'), process.pid ?? 0);
  assert.deepEqual(found(later), [], 'somebody is in it');
  const ended = new Promise((resolve) => process.once('exit', resolve));
  process.kill('SIGKILL');
  await ended;

  for (const shell of found(later)) await removeShell(shell);
  assert.deepEqual([[cgroup, ...legacy, runDir].filter((path) => existsSync(path)), found(later)], [[], []]);
  await removeCgroup(cgroup);
});
