import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cgroupPids, findCgroup2Mount } from '../../kernel/cgroup.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { importBusybox, ociPod } from '../oci/testing.ts';
import { createTestNode, eventually } from '../test-node.ts';
import { add, logOf, processPod, statusOf } from './test-pods.ts';

/** Leaves an orphan behind that does not hear it, and ends when it is asked to. */
const TARGET = `trap 'echo asked; exit 7' USR1; sh -c 'trap "" USR1 TERM HUP; sleep 99999' & echo up
while :; do sleep 0.1$((20 + 3)); done`;
/** Waits until the other sleeps, which it does when it is ready. Finds the other by what it was started with; what is through the first process is none of its business. */
const LOOKER = `cat /proc/1/cmdline | tr -d '\\0'; echo; test $$ != 1 && echo not first
find() { grep -l 'ask[e]d; exit' /proc/[0-9]*/cmdline 2>/dev/null | tr -dc '0-9\\n'; }
until grep -q '0[.]123' /proc/[0-9]*/cmdline 2>/dev/null; do sleep 0.05; done
ls /proc/1/root/ 2>/dev/null; cat /proc/1/environ 2>/dev/null; kill -9 1 2>/dev/null
for p in /proc/[0-9]*; do ls $p/root/HOST >/dev/null 2>&1 && echo "the machine's files: $p"; done
while find | grep -q .; do kill -USR1 $(find) 2>/dev/null; sleep 0.1; done; echo sent; sleep 99999`;

for (const runtime of ['process', 'image'] as const)
  test(`containers of one pod see each other’s processes and signal them (${runtime})`, {
    skip: needsRoot,
  }, async (t) => {
    const node = await createTestNode();
    t.after(() => node.close());
    await node.startHost();
    await importBusybox(node, 'test/busybox:1');
    const containers = [
      { name: 'main', image: 'test/busybox:1', command: ['sh', '-c', TARGET] },
      { name: 'looker', image: 'test/busybox:1', command: ['sh', '-c', LOOKER.replace('HOST', node.folder)] },
    ];
    const spec = { shareProcessNamespace: true, restartPolicy: 'Never' as const };
    add(
      node,
      runtime === 'process'
        ? processPod('pod', containers, spec)
        : ociPod('pod', {}, { ...spec, containers }),
    );
    const end = await eventually('it was asked to end', () => statusOf(node, 'pod', 0)?.state?.terminated);
    assert.deepEqual([end.exitCode, end.message], [7, undefined]);
    await eventually('the other knows', () => logOf(node, 'pod', 'looker').includes('sent'));
    const said = logOf(node, 'pod', 'looker');
    assert.equal(logOf(node, 'pod'), 'up\nasked\n');
    assert.equal(said, '/pause\nnot first\nsent\n');
    const cgroup = join(findCgroup2Mount()!, node.folder.split('/').at(-1)!, 'uid-pod');
    await eventually(
      'what it had started is gone',
      () => readdirSync(cgroup).includes('c-main') && cgroupPids(join(cgroup, 'c-main')).length === 0,
    );
    assert.ok(statusOf(node, 'pod', 1)?.state?.running, 'the other goes on');
    const [pid] = cgroupPids(join(cgroup, 'c-looker'));
    const [holder] = cgroupPids(join(cgroup, 'holder'));
    process.kill(holder!, 'SIGKILL');
    await eventually('with the holder, all have gone', () => !readdirSync('/proc').includes(String(pid)));
  });
