/** Clusters of one family and of both: one suite of assertions holds on each, under each data path. */
import { join } from 'node:path';
import { test } from 'node:test';
import { deepOnly } from './deep-only.ts';
import { checkFamilies } from './families.ts';
import type { Family } from './family-cluster.ts';
import { root, upCluster } from './local-cluster.ts';

const KINDS: readonly (readonly [string, readonly Family[]])[] = [
  ['ipv6', [6]],
  ['ipv4', [4]],
  ['dual', [4, 6]],
];

for (const datapath of ['ebpf', 'nftables', 'iptables'])
  for (const [kind, families] of KINDS)
    test(`a cluster of ${kind === 'dual' ? 'both families' : `${kind} alone`}, under ${datapath}`, {
      timeout: 300_000,
      skip: `${datapath} ${kind}` !== 'ebpf ipv6' && deepOnly('eBPF runs it with IPv6 alone'),
    }, async (t) => {
      const flags = ['-f', join(root, 'examples/shop'), '--ip-family', kind, '--datapath', datapath];
      const cluster = await upCluster(t, join(root, 'test/manifests/families'), ...flags);
      await checkFamilies(t, cluster, families);
    });
