import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { deepOnly } from './deep-only.ts';
import { root, upCluster } from './local-cluster.ts';
import { routeRounds } from './route-rounds.ts';

interface Pod {
  metadata: { uid: string; labels: Record<string, string> };
  spec: { nodeName: string };
  status: { podIPs: { ip: string }[] };
}

// In `npm test` move.test.ts takes the same rounds, on its cluster.
const skip = deepOnly('move.test.ts takes the rounds by eBPF');

for (const [datapath, ...flags] of [
  ['ebpf', '--routing', 'native'],
  ['nftables'],
  ['iptables'],
  ['ebpf', '--ip-family', 'ipv6'],
  ['nftables', '--ip-family', 'ipv4', '--routing', 'native'],
])
  test(`nodes go over to other ways and back, and nothing is lost: ${[datapath, ...flags].join(' ')}`, {
    skip,
    timeout: 300_000,
  }, async (t) => {
    const cluster = await upCluster(
      t,
      join(root, 'test/manifests/echo'),
      '--datapath',
      datapath ?? '',
      ...flags,
    );
    const { items } = JSON.parse(await cluster.must('get', 'pods', '-o', 'json')) as { items: Pod[] };
    const clients = items.filter(({ metadata }) => metadata.labels['app'] === 'client');
    const [one, two] = ['node-1', 'node-2'].map((node) => clients.find(({ spec }) => spec.nodeName === node));
    assert.ok(one && two);
    await routeRounds(t, cluster, [one, two], flags.includes('native') ? 'native' : 'vxlan');
  });
