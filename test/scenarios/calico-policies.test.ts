/** Calico's tiers and policies, applied to a running cluster: every connection of the shop meets what decide says of it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Report } from '../../src/demo/report.ts';
import { localCluster, root } from './local-cluster.ts';

const NAMED = [
  'GlobalNetworkPolicy security.cardholder-data',
  'NetworkPolicy.projectcalico.org shop/web-asks-no-recommendations',
  'GlobalNetworkPolicy security.no-acquirer',
];

for (const datapath of ['ebpf', 'nftables'])
  test(`Calico’s policies are enforced live, tier by tier, by ${datapath}`, {
    timeout: 180_000,
  }, async (t) => {
    const cluster = await localCluster(t);
    const heddle = (words: string) => {
      const [verb, ...rest] = words.split(' ');
      return `${join(root, 'heddle')} ${verb} --data-dir ${cluster.dataDir} ${rest.join(' ')}`;
    };
    const applied = [
      heddle(`apply -f ${join(root, 'test/manifests/calico')}`),
      ...NAMED.map((name) => `until ${heddle('datapath counters')} | grep -q '${name}'; do sleep 0.1; done`),
    ].join(' && ');
    const args = ['--once', '--api-port', String(cluster.apiPort), '--datapath', datapath, '-o', 'json'];
    const { code, stdout, stderr } = await cluster.heddle('demo', ...args, '--before-probes', applied);
    assert.equal(code, 0, stderr);
    const { attempts, mismatches } = JSON.parse(stdout) as Report;
    assert.equal(mismatches, 0);
    const seen = (from: string, to: string) =>
      new Set(
        attempts
          .filter((a) => a.from === from && a.to === to)
          .map(({ observed, by }) => `${observed}: ${by}`),
      );
    const includes = (from: string, to: string, wanted: RegExp) =>
      assert.ok(
        [...seen(from, to)].some((text) => wanted.test(text)),
        `${from} → ${to}: ${[...seen(from, to)].join('\n')}`,
      );
    includes(
      'shop/web',
      'payments/gateway',
      /^denied: GlobalNetworkPolicy security\.cardholder-data spec\.ingress\[1\]/,
    );
    includes('shop/checkout', 'payments/gateway', /^allowed: .*NetworkPolicy payments\//);
    includes('platform/telemetry', 'payments/ledger', /^denied: default deny egress/);
    includes(
      'shop/web',
      'shop/recommendations',
      /^denied: NetworkPolicy\.projectcalico\.org shop\/web-asks-no-recommendations spec\.egress\[0\]/,
    );
    includes('shop/web', 'outside', /^denied: GlobalNetworkPolicy security\.no-acquirer spec\.egress\[0\]/);
  });
