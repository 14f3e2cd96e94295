import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpf } from '../../testing/ebpf.ts';
import { OUTSIDE } from '../../testing/lab.ts';
import {
  both,
  dialers,
  FAMILIES,
  NODE_PORT,
  PODS,
  PROTOCOLS,
  serveAll,
  wish,
} from '../../testing/service-lab.ts';

test('with direct return a backend of another node sees the client, who hears the service', {
  skip: needsRoot,
}, async (t) => {
  const cluster = await createCluster(t, openEbpf, PODS);
  serveAll(t, cluster);
  await cluster.setFrontends(both(wish('NodePort', [cluster.pod('c')], { forwarding: 'dsr' })));
  for (const family of FAMILIES)
    for (const protocol of PROTOCOLS) {
      const node = cluster.lab.nodes[0]?.remote.addresses[family] ?? '';
      const answer = await dialers[protocol](cluster.lab.outside, node, NODE_PORT, {
        localAddress: OUTSIDE[family],
      });
      assert.deepEqual(answer, { server: 'c', seen: OUTSIDE[family] }, protocol);
    }
});
