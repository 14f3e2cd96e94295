/** Policies of Cilium's, applied to a running cluster: every connection of the shop meets what decide says of it. */
import { test } from 'node:test';
import { otherDatapath } from './deep-only.ts';
import { demoUnder } from './demo-under.ts';

const NAMED = [
  'CiliumNetworkPolicy payments/no-storefront',
  'CiliumNetworkPolicy shop/web-stays-inside',
  'CiliumNetworkPolicy shop/catalog-out',
  'CiliumClusterwideNetworkPolicy no-world-for-carts',
];

for (const datapath of ['ebpf', 'nftables'])
  test(`policies of Cilium’s are enforced live by ${datapath}`, {
    timeout: 300_000,
    skip: otherDatapath(datapath),
  }, async (t) => {
    const includes = await demoUnder(t, { datapath, manifests: 'cilium', named: NAMED });
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
