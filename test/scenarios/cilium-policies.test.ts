/** Policies of Cilium's, applied to a running cluster: every connection of the shop meets what decide says of it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Report } from '../../src/demo/report.ts';
import { localCluster, root } from './local-cluster.ts';

const NAMED = [
  'CiliumNetworkPolicy payments/no-storefront',
  'CiliumNetworkPolicy shop/web-stays-inside',
  'CiliumNetworkPolicy shop/catalog-out',
  'CiliumClusterwideNetworkPolicy no-world-for-carts',
];

for (const datapath of ['ebpf', 'nftables'])
  test(`policies of Cilium’s are enforced live by ${datapath}`, { timeout: 180_000 }, async (t) => {
    const cluster = await localCluster(t);
    const heddle = (words: string) => {
      const [verb, ...rest] = words.split(' ');
      return `${join(root, 'heddle')} ${verb} --data-dir ${cluster.dataDir} ${rest.join(' ')}`;
    };
    const applied = [
      heddle(`apply -f ${join(root, 'test/manifests/cilium')}`),
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
    // Denied, though a NetworkPolicy allows it; what else comes in is as it was.
    includes(
      'shop/checkout',
      'payments/gateway',
      /^denied: CiliumNetworkPolicy payments\/no-storefront spec\.ingressDeny\[0\]/,
    );
    includes('payments/gateway', 'payments/ledger', /^allowed: .*NetworkPolicy payments\//);
    // The cluster is allowed, and the world is denied by default.
    includes(
      'shop/web',
      'shop/catalog',
      /^allowed: .*CiliumNetworkPolicy shop\/web-stays-inside spec\.egress\[0\]/,
    );
    includes(
      'shop/web',
      'outside',
      /^denied: default deny egress: CiliumNetworkPolicy shop\/web-stays-inside/,
    );
    // A range, its exception, and a pod that it does not mean.
    includes(
      'shop/catalog',
      'outside',
      /^allowed: .*CiliumNetworkPolicy shop\/catalog-out spec\.egress\[0\]/,
    );
    includes(
      'shop/catalog',
      'outside',
      /^denied: default deny egress: CiliumNetworkPolicy shop\/catalog-out/,
    );
    includes(
      'shop/catalog',
      'shop/web',
      /^denied: default deny egress: CiliumNetworkPolicy shop\/catalog-out/,
    );
    // Denied to one entity alone.
    includes(
      'shop/cart',
      'outside',
      /^denied: CiliumClusterwideNetworkPolicy no-world-for-carts spec\.egressDeny\[0\]/,
    );
    includes('shop/cart', 'platform/cache', /^allowed: .*NetworkPolicy platform\/cache/);
  });
