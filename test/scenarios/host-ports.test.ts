import { join } from 'node:path';
import { test } from 'node:test';
import { deepOnly } from './deep-only.ts';
import { checkHostPorts } from './host-ports.ts';
import { root, upCluster } from './local-cluster.ts';

for (const datapath of ['ebpf', 'nftables', 'iptables'])
  test(`ports of nodes lead to pods, by ${datapath}`, {
    timeout: 300_000,
    skip: deepOnly('eBPF has them in the scenario of load balancers'),
  }, async (t) => {
    const cluster = await upCluster(
      t,
      join(root, 'test/manifests/echo'),
      '--nodes',
      '2',
      '--datapath',
      datapath,
    );
    await checkHostPorts(t, cluster, 2);
  });
