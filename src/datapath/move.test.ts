/** Nodes move between data paths under traffic, by sockets with hooks and without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { needsBpf } from '../kernel/bpf/test-object.ts';
import { silentLog } from '../lib/log.ts';
import type { Backend } from './backend.ts';
import { createMovableBackend, type Movable } from './movable.ts';
import type { OpenBackend } from './testing/cluster.ts';
import { openEbpf } from './testing/ebpf.ts';
import { openNftables } from './testing/nftables.ts';
import { homeCgroup, startTraffic, upgradeCluster } from './testing/upgrade.ts';

const openMovable: OpenBackend<Movable> = (t, node) =>
  createMovableBackend({
    initial: 'ebpf',
    used: () => [],
    takesOver: () => true,
    log: silentLog,
    open: (name): Backend =>
      name === 'ebpf' ? { ...openEbpf(t, node), name } : { ...openNftables(t, node), name },
  });

test('nodes move to nftables and back under traffic, and nothing that is translated ends', {
  skip: needsBpf,
  timeout: 120_000,
}, async (t) => {
  const home = homeCgroup();
  const cluster = await upgradeCluster(t, openMovable);
  const traffic = await startTraffic(t, cluster, home, { rate: 500, connections: 40 });
  for (const to of ['nftables', 'ebpf', 'nftables'])
    for (const backend of cluster.backends) {
      await sleep(300);
      assert.deepEqual(await backend.willCut(to), []);
      await backend.move(to);
      assert.deepEqual(await backend.verify(), []);
    }
  await sleep(500);
  t.diagnostic(await traffic.finish());
});
