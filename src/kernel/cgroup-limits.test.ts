import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { handDown, setV1, setV2, weightOf } from './cgroup-limits.ts';
import { limitSet, missingOf, oomKillsOf, openCgroupSet, v1Paths } from './cgroup-set.ts';
import { findGroups, v1Hierarchies } from './cgroup-v1.ts';

function scratch(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'heddle-test-cgroup-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  return root;
}

const text = (path: string): string => readFileSync(path, 'utf8');

test('controllers are handed down as far as they come, and the machine’s own group is left alone', (t) => {
  const root = scratch(t);
  const [upper, leaf] = [join(root, 'a'), join(root, 'a/b')];
  mkdirSync(leaf, { recursive: true });
  for (const path of [root, upper]) writeFileSync(join(path, 'cgroup.controllers'), 'cpu memory io');
  writeFileSync(join(leaf, 'cgroup.controllers'), 'memory');
  assert.deepEqual(handDown(root, leaf), ['memory']);
  assert.equal(text(join(upper, 'cgroup.subtree_control')), '+cpu');
  assert.throws(() => text(join(root, 'cgroup.subtree_control')));
});

test('both versions of cgroups are told the same limits', (t) => {
  const path = scratch(t);
  const limits = { memory: 2 ** 20, cpu: 0.5, shares: 512, pids: 7 };
  writeFileSync(join(path, 'memory.memsw.limit_in_bytes'), '');
  writeFileSync(join(path, 'memory.swap.max'), '');
  for (const one of ['memory', 'cpu', 'pids'] as const) {
    setV1(path, one, limits);
    setV2(path, one, limits);
  }
  const written = Object.entries({
    'memory.limit_in_bytes': '1048576',
    'memory.memsw.limit_in_bytes': '1048576',
    'cpu.cfs_period_us': '100000',
    'cpu.cfs_quota_us': '50000',
    'cpu.shares': '512',
    'pids.max': '7',
    'memory.max': '1048576',
    'memory.swap.max': '0',
    'cpu.max': '50000 100000',
    'cpu.weight': '59',
  });
  for (const [file, value] of written) assert.equal(text(join(path, file)), value, file);
});

test('weights grow with shares from end to end', () => {
  assert.deepEqual([2, 1024, 262_144, 1, 1 << 20].map(weightOf), [1, 100, 10_000, 1, 10_000]);
  for (let shares = 2; shares < 262_144; shares += 997) assert.ok(weightOf(shares) <= weightOf(shares + 997));
});

test('hierarchies are read as the kernel tells them, a container’s part of them included', () => {
  const mounts = `
30 20 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
31 20 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 20 0:28 /docker/one /sys/fs/cgroup/me\\040mory ro - cgroup cgroup rw,memory
33 20 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
34 20 0:28 /docker/one /elsewhere rw - cgroup cgroup rw,memory`;
  const own = '4:memory:/docker/one/inner\n3:cpuacct,cpu:/user:x\n1:name=systemd:/\n0::/\n';
  assert.deepEqual(v1Hierarchies(mounts, own), [
    {
      controllers: ['cpu', 'cpuacct'],
      mount: '/sys/fs/cgroup/cpu,cpuacct',
      own: '/sys/fs/cgroup/cpu,cpuacct/user:x',
    },
    { controllers: ['memory'], mount: '/sys/fs/cgroup/me mory', own: '/sys/fs/cgroup/me mory/inner' },
  ]);
});

test('a controller is used where it can be tried, and named with the reason where not', (t) => {
  const root = scratch(t);
  const [mount, memory] = [join(root, 'unified'), join(root, 'memory')];
  for (const path of [mount, join(memory, 'own')]) mkdirSync(path, { recursive: true });
  writeFileSync(join(root, 'pids'), '');
  const hierarchies = [
    { controllers: ['memory'], mount: memory, own: join(memory, 'own') },
    { controllers: ['pids'], mount: join(root, 'pids'), own: join(root, 'pids') },
  ];
  const set = openCgroupSet(mount, join(mount, 'heddle-1/node-1'), hierarchies);
  assert.deepEqual(set.places.memory, { version: 1, path: join(memory, 'own/heddle-1/node-1') });
  assert.match('why' in set.places.cpu ? set.places.cpu.why : '', /neither cgroup2 .* nor/);
  assert.match('why' in set.places.pids ? set.places.pids.why : '', /ENOTDIR/);
  assert.deepEqual(missingOf(set, { memory: 1, shares: 2, pids: 1 }), ['cpu', 'pids']);
  assert.deepEqual(v1Paths(set), [join(memory, 'own/heddle-1/node-1')]);
  limitSet(set, { memory: 4096, cpu: 1 });
  assert.equal(text(join(memory, 'own/heddle-1/node-1/memory.limit_in_bytes')), '4096');
  writeFileSync(join(memory, 'own/heddle-1/node-1/memory.oom_control'), 'under_oom 0\noom_kill 3\n');
  assert.equal(oomKillsOf(set), 3);
  // Brought up by somebody who is in another group.
  const [again] = hierarchies.map((one) => ({ ...one, own: join(memory, 'other') }));
  assert.deepEqual(openCgroupSet(mount, set.path, [again!]).places.memory, set.places.memory);
  assert.deepEqual(
    findGroups(memory, (name) => name.startsWith('heddle-')),
    [join(memory, 'own/heddle-1')],
  );
});
