import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../kernel/test-netns.ts';
import {
  exchangeLab,
  packetsPass,
  peersOf,
  podRanges,
  waitForAnswer,
  waitForRoutes,
} from './testing/exchange.ts';
import { frrConfig } from './testing/frr-config.ts';
import { startFrr } from './testing/frr.ts';
import { speak } from './testing/speak.ts';

for (const [kind, as] of [
  ['eBGP', 65001],
  ['iBGP', 65002],
] as const)
  test(`FRR and this speaker exchange routes of both families by ${kind}, with TCP MD5, and packets take them`, {
    skip: needsRoot,
  }, async (context) => {
    const lab = exchangeLab(context);
    const frr = await startFrr(lab.t, lab.router.ns, frrConfig({ peerAs: as }));
    const peers = peersOf('frr', 65002, { password: 'heddle' });
    const speaker = speak(lab.t, lab.node, { localASN: as, peers });
    speaker.advertise(podRanges);
    await waitForRoutes(speaker, 4);
    const told = await waitForAnswer(frr, 'show bgp ipv4 unicast 10.244.1.0/24', /best/);
    assert.match(told, /Community: 65001:100/);
    assert.match(told, /Large Community: 65001:7:8/);
    await packetsPass(lab);
    speaker.advertise([]);
    await waitForAnswer(frr, 'show bgp ipv4 unicast 10.244.1.0/24', /not in table/i);
  });
