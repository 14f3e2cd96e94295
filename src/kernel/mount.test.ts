import assert from 'node:assert/strict';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { bind, isMountPoint, mountCgroup2, mounts, mountTmpfs, unmountLazy } from './mount.ts';
import { needsRoot, testFolder } from './test-netns.ts';

const skip = needsRoot;

test('a private tmpfs is there, private, and goes though a file in it is open', { skip }, (t) => {
  const folder = testFolder(t);
  const path = join(folder, 'with blank');
  fs.mkdirSync(path);
  mountTmpfs(path, { private: true, size: '1m' });
  t.after(() => unmountLazy(path));
  assert.deepEqual(
    mounts().find((mount) => mount.path === path),
    { path, type: 'tmpfs', source: 'heddle' },
  );
  const info = fs
    .readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.includes('with\\040blank'));
  assert.doesNotMatch(info ?? '', /shared:/);
  assert.equal(fs.statSync(path).mode & 0o777, 0o700);
  const fd = fs.openSync(join(path, 'held'), 'w');
  assert.equal(unmountLazy(path), true);
  fs.closeSync(fd);
  assert.equal(isMountPoint(path), false);
  assert.equal(unmountLazy(path), false);
});

test("a bound folder shows the other's files; stacked mounts go together", { skip }, (t) => {
  const folder = testFolder(t);
  const [source, target] = [join(folder, 'source'), join(folder, 'target')];
  for (const path of [source, target]) fs.mkdirSync(path);
  fs.writeFileSync(join(source, 'file'), 'x');
  bind(source, target);
  bind(source, target);
  t.after(() => unmountLazy(target));
  assert.deepEqual(fs.readdirSync(target), ['file']);
  unmountLazy(target);
  assert.deepEqual(fs.readdirSync(target), []);
});

test("cgroup2 can be mounted in a place of one's own", { skip }, (t) => {
  const path = testFolder(t);
  mountCgroup2(path);
  t.after(() => unmountLazy(path));
  assert.ok(fs.existsSync(join(path, 'cgroup.procs')));
  unmountLazy(path);
});

test('a mount that fails says on what', { skip }, () => {
  assert.throws(() => mountTmpfs('/nonexistent/x'), {
    code: 'Kernel',
    message: /mount tmpfs on \/nonexistent\/x: ENOENT/,
  });
});
