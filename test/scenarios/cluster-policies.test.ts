/** Policies of a whole cluster, applied to a running one: every connection of the shop meets what decide says of it. */
import { test } from 'node:test';
import { otherDatapath } from './deep-only.ts';
import { demoUnder } from './demo-under.ts';

const NAMED = [
  'AdminNetworkPolicy guard',
  'ClusterNetworkPolicy web-asks-no-recommendations',
  'ClusterNetworkPolicy no-acquirer',
];

for (const datapath of ['ebpf', 'nftables'])
  test(`cluster-wide policies are enforced live, tier by tier, by ${datapath}`, {
    timeout: 300_000,
    skip: otherDatapath(datapath),
  }, async (t) => {
    const includes = await demoUnder(t, { datapath, manifests: 'guard', named: NAMED });
    includes(
      'shop/web',
      'payments/gateway',
      /^denied: AdminNetworkPolicy guard spec\.ingress\[1\] \(no-storefront\)/,
    );
    includes('shop/checkout', 'payments/gateway', /^allowed: .*NetworkPolicy payments\//);
    includes('platform/telemetry', 'payments/ledger', /^denied: default deny egress/);
    includes('shop/web', 'shop/recommendations', /^denied: ClusterNetworkPolicy web-asks-no-recommendations/);
    includes('shop/web', 'outside', /^denied: ClusterNetworkPolicy no-acquirer spec\.egress\[0\]/);
  });
