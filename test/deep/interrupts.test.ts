import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { difference, takeInventory } from '../../src/cluster/snapshot.ts';
import { localCluster, root } from '../scenarios/local-cluster.ts';

const deep = process.env['HEDDLE_DEEP'] === '1';

for (let round = 0; round < 10; round++) {
  const signal = round % 4 === 3 ? 'SIGHUP' : 'SIGINT';
  const after = 50 + Math.floor(Math.random() * 3500);
  test(`${signal} ${after} ms after the start leaves nothing`, {
    skip: !deep && 'takes minutes: npm run check:deep (not in CI)',
  }, async (t) => {
    const cluster = await localCluster(t);
    const before = takeInventory();
    const child = spawn(
      join(root, 'heddle'),
      [
        'up',
        '--stand-in',
        '--data-dir',
        cluster.dataDir,
        '--api-port',
        String(cluster.apiPort),
        '-f',
        join(root, 'test/manifests/echo'),
      ],
      { stdio: 'ignore', cwd: root },
    );
    t.after(() => child.kill('SIGKILL'));
    await sleep(after);
    child.kill(signal);
    await once(child, 'close');
    const ours = (line: string) => line.includes(cluster.paths.id) || line.includes(cluster.dataDir);
    assert.deepEqual(difference(before, takeInventory(), ours), []);
    assert.equal(existsSync(cluster.paths.config), false);
  });
}
