/** A link that carries less than it says, by each way between nodes that this kernel has: found to the byte. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { probeTunnels } from '../../kernel/tunnel-features.ts';
import { silentLog } from '../../lib/log.ts';
import { type Encapsulation, ENCAPSULATIONS, overheadOf, podMtu } from '../encapsulation.ts';
import { createOverlay } from '../overlay.ts';
import { SETTINGS_KEY } from '../plan/tables.ts';
import { createLab } from '../testing/lab.ts';
import { patience } from '../testing/pace.ts';
import { probeAddress } from './address.ts';
import { openPathEnds } from './ends.ts';
import { judgePath } from './judge.ts';

const FULL = 1500;
const mtuOf = (encapsulation: Encapsulation): number =>
  podMtu({ encapsulation, underlayFamily: 4, underlayMtu: FULL, podFamilies: [4, 6] });

const skip =
  needsRoot ||
  (process.env['HEDDLE_DEEP'] === '1'
    ? false
    : 'src/cluster/lines/run.test.ts finds it by VXLAN: npm run check:deep (not in CI)');

for (const way of ENCAPSULATIONS)
  test(`a black hole is found by ${way}`, { skip, timeout: 180_000 * patience }, async (t) => {
    if (way !== 'native') {
      const { ok, why } = probeTunnels()[way];
      if (!ok) return t.skip(`${why}: npm run check:deep runs it in a test-bed (not in CI)`);
    }
    const { nodes } = createLab(t, 2);
    const ends = nodes.map(({ name, ns, route, settings }) => {
      const others = nodes.filter((node) => node.name !== name);
      createOverlay(route, { vni: 72, port: 4789, mtu: mtuOf, nodeAddresses: settings.nodeAddresses }).prune({
        routes: new Map(others.map(({ remote }) => [remote.node, remote])),
        settings: new Map([[SETTINGS_KEY, { ...settings, routing: { sends: way, accepts: [way] } }]]),
      });
      const addresses = settings.nodePodCidrs.map(probeAddress);
      for (const address of addresses) {
        const bits = address.includes(':') ? 128 : 32;
        route.replaceAddress('lo', `${address}/${bits}`, { nodad: true, noSource: true });
      }
      const end = openPathEnds({ addresses: [...settings.nodeAddresses, ...addresses], ns, log: silentLog });
      t.after(() => end.close());
      return end;
    });
    const [here] = ends;
    const [, there] = nodes;
    assert.ok(here && there);
    const judge = (to: string, full: number) =>
      judgePath({
        probe: (length, timeoutMs) => here.probe(to, length, timeoutMs * patience),
        full,
        small: 128,
      });
    const pods = there.settings.nodePodCidrs.map(probeAddress);
    const judgeAll = () =>
      Promise.all([
        judge(there.settings.nodeAddresses[0] ?? '', FULL),
        ...pods.map((to) => judge(to, mtuOf(way))),
      ]);
    assert.deepEqual(
      (await judgeAll()).map(({ state }) => state),
      ['proved', 'proved', 'proved'],
    );
    // A veth drops in silence what its other end is too small for.
    there.route.setLink('eth0', { mtu: 1400 });
    const [under, ...holes] = await judgeAll();
    assert.ok(under?.state === 'black-hole' && under.passes >= 1400 && under.passes < 1410, under?.state);
    const passes = under.passes - overheadOf(way, 4);
    assert.deepEqual(
      holes.map((hole) => hole.state === 'black-hole' && [hole.passes, hole.fails]),
      [
        [passes, passes + 1],
        [passes, passes + 1],
      ],
    );
    return undefined;
  });
