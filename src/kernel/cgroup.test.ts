import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  cgroupPids,
  cgroupTreePids,
  createCgroup,
  findCgroup2Mount,
  killCgroup,
  moveToCgroup,
  removeCgroup,
} from './cgroup.ts';
import { isAlive } from './process.ts';
import { spawnIn } from './spawn.ts';
import { needsRoot } from './test-netns.ts';

const skip = needsRoot;
let count = 0;

function testCgroup(t: TestContext): string {
  const path = join(findCgroup2Mount() ?? '', `heddle-test-${process.pid}-${count++}`);
  createCgroup(path);
  t.after(async () => {
    killCgroup(path);
    await removeCgroup(path);
  });
  return path;
}

test('killing a cgroup ends all below it, and then it can be removed', { skip }, async (t) => {
  const path = testCgroup(t);
  const inner = join(path, 'a', 'b');
  createCgroup(inner);
  const children = [path, inner].map((cgroup) =>
    spawnIn({ argv: ['sleep', '600'], cgroup: cgroup === path ? join(path, 'a') : inner }),
  );
  await Promise.all(children.map((child) => once(child, 'spawn')));
  while (cgroupTreePids(path).length < 2) await new Promise(setImmediate);
  killCgroup(path);
  await removeCgroup(path);
  assert.equal(fs.existsSync(path), false);
  for (const child of children) assert.equal(isAlive(child.pid ?? 0), false);
  killCgroup(path);
  await removeCgroup(path);
  assert.deepEqual(cgroupPids(path), []);
});

test('a process is moved', { skip }, async (t) => {
  const path = testCgroup(t);
  const child = spawnIn({ argv: ['sleep', '600'] });
  await once(child, 'spawn');
  moveToCgroup(path, child.pid ?? 0);
  assert.deepEqual(cgroupPids(path), [child.pid]);
});

test('what still runs is named by the error', { skip }, async (t) => {
  const path = testCgroup(t);
  const child = spawnIn({ argv: ['sleep', '600'], cgroup: path });
  while (cgroupPids(path).length === 0) await new Promise(setImmediate);
  await assert.rejects(removeCgroup(path, { timeoutMs: 10 }), {
    code: 'Cgroup',
    hint: `processes still in it: ${child.pid}`,
  });
});

test('moving what is not there is an error', { skip }, (t) => {
  assert.throws(() => moveToCgroup(testCgroup(t), 2 ** 22 + 1), { code: 'Cgroup' });
});
