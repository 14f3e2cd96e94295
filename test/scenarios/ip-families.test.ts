/** Clusters of one family: the demo's verdicts hold on each as they do on one of both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Report } from '../../src/demo/report.ts';
import { deepOnly, otherDatapath } from './deep-only.ts';
import { localCluster } from './local-cluster.ts';

for (const [family, datapath, number] of [
  ['ipv6', 'ebpf', 6],
  ['ipv4', 'ebpf', 4],
  ['ipv4', 'nftables', 4],
  ['ipv6', 'nftables', 6],
  ['ipv6', 'iptables', 6],
] as const)
  test(`a cluster of ${family} alone, under ${datapath}, lets through and denies what the policies say`, {
    timeout: 300_000,
    skip: family === 'ipv6' ? otherDatapath(datapath) : deepOnly('IPv6 alone runs the scenario'),
  }, async (t) => {
    const cluster = await localCluster(t);
    const flags = ['--ip-family', family, '--datapath', datapath, '--api-port', String(cluster.apiPort)];
    const demo = await cluster.heddle('demo', '--once', '-o', 'json', ...flags);
    assert.equal(demo.code, 0, demo.stderr);
    const { attempts, mismatches, allowed, denied } = JSON.parse(demo.stdout) as Report;
    assert.equal(mismatches, 0);
    assert.ok(allowed > 50 && denied > 50, `${allowed} allowed, ${denied} denied`);
    assert.deepEqual([...new Set(attempts.map((attempt) => attempt.family))], [number]);
  });
