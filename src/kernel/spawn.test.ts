import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createCgroup, findCgroup2Mount, removeCgroup } from './cgroup.ts';
import { inNetns } from './netns.ts';
import { run, spawnIn } from './spawn.ts';
import { needsRoot, testNetns } from './test-netns.ts';

const skip = needsRoot;

test('a program is in its namespace and cgroup when it starts, and so is its input, output and code', {
  skip,
}, async (t) => {
  const netns = testNetns(t);
  const name = `heddle-test-${process.pid}-spawn`;
  const cgroup = join(findCgroup2Mount() ?? '', name);
  createCgroup(cgroup);
  t.after(() => removeCgroup(cgroup));
  const script = 'readlink /proc/self/ns/net; grep ^0: /proc/self/cgroup; cat; echo "$1" >&2; exit 3';
  const result = await run(['sh', '-c', script, 'sh', 'a  "b" $c'], { netns, cgroup, input: 'in' });
  const place = inNetns(netns, () => fs.readlinkSync('/proc/thread-self/ns/net'));
  assert.deepEqual(result, { code: 3, stdout: `${place}\n0::/${name}\nin`, stderr: 'a  "b" $c\n' });
});

test('the environment is what was said and nothing else', async () => {
  process.env['HEDDLE_TEST_SECRET'] = 'x';
  assert.equal((await run(['/usr/bin/env'], { env: { A: '1' } })).stdout, 'A=1\n');
  assert.doesNotMatch((await run(['/usr/bin/env'])).stdout, /SECRET/);
});

test('a channel to a child passes through the cgroup', { skip }, async (t) => {
  const cgroup = join(findCgroup2Mount() ?? '', `heddle-test-${process.pid}-ipc`);
  createCgroup(cgroup);
  t.after(() => removeCgroup(cgroup));
  const child = spawnIn({
    argv: [process.execPath, '-e', 'process.send(process.pid)'],
    cgroup,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [pid] = await once(child, 'message');
  assert.equal(pid, child.pid);
  if (child.exitCode === null) await once(child, 'exit');
});

test('a missing program, a slow one, a loud one, an aborted one', async () => {
  await assert.rejects(run(['heddle-no-such-program']), { code: 'ProgramMissing' });
  await assert.rejects(run(['sleep', '600'], { timeoutMs: 20 }), { code: 'ProgramTimeout' });
  await assert.rejects(run(['yes'], { maxOutput: 1000 }), { code: 'ProgramOutput' });
  const abort = new AbortController();
  const waiting = run(['sleep', '600'], { signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
});

test('a signal is a code as shells count it', async () => {
  assert.equal((await run(['sh', '-c', 'kill -TERM $$'])).code, 143);
});

test('a program that does not read its input ends all the same', async () => {
  assert.equal((await run(['true'], { input: 'x'.repeat(1 << 20) })).code, 0);
});

test('what is no cgroup is refused before anything starts', () => {
  assert.throws(() => spawnIn({ argv: ['true'], cgroup: '/tmp' }), { code: 'Cgroup' });
});
