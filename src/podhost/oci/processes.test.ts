import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deepOnly } from '../../../test/scenarios/deep-only.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { outputOf } from '../process/test-pods.ts';
import { createTestNode } from '../test-node.ts';
import { importBusybox, ociPod } from './testing.ts';

/** As three users, 1,500 programs each; says how many there are in the end. */
const BOMB = `
for user in 1 2 3; do
  echo "u$user:x:$((1000 + user)):$((1000 + user))::/:/bin/sh" >> /etc/passwd
  exec 2>/dev/null; busybox start-stop-daemon -S -c u$user -x /bin/sh -- -c 'i=0; while [ $i -lt 1500 ]; do sleep 1000 & i=$((i+1)); done' 2>/dev/null
done 2>/dev/null
set -- /proc/[0-9]*
echo $#`;

test('the users of a container together have no more processes than one may have', {
  skip: needsRoot || deepOnly('thousands of processes'),
}, async (t) => {
  const node = await createTestNode();
  t.after(() => node.close());
  await node.startHost();
  await importBusybox(node, 'test/busybox:1');
  const found = Number(await outputOf(node, ociPod('bomb', { command: ['sh', '-c', BOMB] })));
  assert.ok(found > 2000 && found <= 4096, `${found} processes`);
});
