import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  createCgroup,
  findCgroup2Mount,
  killCgroup,
  moveToCgroup,
  removeCgroup,
} from '../../kernel/cgroup.ts';
import { createNetns, closeNetns, deleteNetns } from '../../kernel/netns.ts';
import { run, spawnIn } from '../../kernel/spawn.ts';
import { systemClock } from '../../lib/clock.ts';
import { startPause } from './pause.ts';

const root = join(import.meta.dirname, '../../..');
const program = join(root, 'build/heddle-pause');

async function place(t: TestContext) {
  const made = await run(['make', '-s', '-C', join(root, 'native')]);
  assert.equal(made.code, 0, made.stderr);
  const folder = await mkdtemp(join(tmpdir(), `heddle-test-${process.pid}-pause-`));
  const cgroup = join(findCgroup2Mount() ?? '', basename(folder));
  createCgroup(cgroup);
  const netns = createNetns(join(folder, 'netns'));
  t.after(async () => {
    killCgroup(cgroup);
    await removeCgroup(cgroup, { timeoutMs: 30_000 });
    deleteNetns(netns.path);
    closeNetns(netns);
    rmSync(folder, { recursive: true, force: true });
  });
  return { folder, cgroup, netns: netns.path };
}

test('a command enters a process of the container and no other that has its pid by now', async (t) => {
  const { cgroup } = await place(t);
  const enter = async (own: boolean) => {
    const child = spawnIn({ argv: ['sleep', '1000'] });
    t.after(() => child.kill('SIGKILL'));
    if (own) moveToCgroup(cgroup, child.pid!);
    const ids = ['--user', '1073741824:1073741824', '--group', '1073741824:1073741824'];
    return run([program, 'enter', String(child.pid), cgroup, ...ids, '--', 'true']);
  };
  assert.equal((await enter(true)).code, 0);
  const { code, stderr } = await enter(false);
  assert.deepEqual([code, stderr], [128, 'the container has ended\n']);
});

test('a disk that is full holds whole lines', async (t) => {
  const { folder, cgroup, netns } = await place(t);
  const full = join(folder, 'full');
  mkdirSync(full);
  const pause = await startPause(
    {
      program,
      socketPath: join(folder, 'pause.sock'),
      hostname: 'test',
      netns,
      cgroup,
      ownCgroup: join(cgroup, 'holder'),
      memory: [`${full},size=8k`],
      clock: systemClock,
    },
    t.signal,
  );
  t.after(() => pause.close());
  const inside = join(cgroup, 'c');
  createCgroup(inside);
  const runIn = async (id: string, log: string, script: string) => {
    pause.start({ id, log, cgroup: inside, argv: ['sh', '-c', script] });
    await pause.ended(id, t.signal);
  };
  await runIn('a.0', join(full, 'log'), 'for i in $(seq 500); do echo a line of some words; done');
  // The memory is the holder's alone.
  await runIn('b.0', join(folder, 'other'), `cp ${full}/log ${folder}/copy`);
  const text = readFileSync(join(folder, 'copy'), 'utf8');
  assert.ok(text.length > 7000 && text.length <= 8192, `${text.length} bytes`);
  for (const line of text.split('\n').slice(0, -1))
    assert.match(line, /^\S+Z stdout F a line of some words$/);
  assert.ok(text.endsWith('\n'), text.slice(-100));
});
