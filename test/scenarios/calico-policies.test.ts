/** Calico's tiers and policies, applied to a running cluster: every connection of the shop meets what decide says of it. */
import { test } from 'node:test';
import { otherDatapath } from './deep-only.ts';
import { demoUnder } from './demo-under.ts';

const NAMED = [
  'GlobalNetworkPolicy security.cardholder-data',
  'NetworkPolicy.projectcalico.org shop/web-asks-no-recommendations',
  'GlobalNetworkPolicy security.no-acquirer',
];

for (const datapath of ['ebpf', 'nftables'])
  test(`Calico’s policies are enforced live, tier by tier, by ${datapath}`, {
    timeout: 300_000,
    skip: otherDatapath(datapath),
  }, async (t) => {
    const includes = await demoUnder(t, { datapath, manifests: 'calico', named: NAMED });
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
