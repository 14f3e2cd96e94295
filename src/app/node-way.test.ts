import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { PodMtu } from '../cni/pod-mtu.ts';
import type { Encapsulation, Tunnel } from '../datapath/encapsulation.ts';
import type { Routing } from '../datapath/plan/tables.ts';
import { ROUTE_STEPS } from '../datapath/route-steps.ts';
import type { TunnelFeatures } from '../kernel/tunnel-features.ts';
import { HeddleError } from '../lib/errors.ts';
import { silentLog } from '../lib/log.ts';
import { createNodeWay, podMtuBy } from './node-way.ts';

const features = Object.fromEntries(
  ['vxlan', 'geneve', 'gre', 'ip6gre'].map((name) => [
    name,
    { ok: name !== 'geneve', purpose: 'x', why: 'EOPNOTSUPP', hint: 'CONFIG_GENEVE' },
  ]),
) as unknown as TunnelFeatures;

function rig(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'heddle-way-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'nodes', 'node-1.routing.json');
  const programmed: Routing[] = [];
  const sizes = new Map<string, PodMtu>();
  const pods = [{ interface: 'a', netns: '/a' }];
  let held: Promise<void> | undefined;
  const start = (configured: Encapsulation) =>
    createNodeWay({
      path,
      configured,
      mtuOf: podMtuBy({ addresses: ['10.0.0.1'], podCidrs: ['10.1.0.0/24', 'fd00::/64'] }, () => 1500),
      features: () => features,
      refuseTaken(tunnel) {
        if (tunnel === foreign.name) throw new HeddleError('TunnelNameTaken', tunnel);
      },
      isIpv6Only: false,
      program: async (routing) => {
        programmed.push(routing);
        await held;
      },
      pods: () => pods,
      setPodMtu: (pod, { mtu, limit }) => void sizes.set(pod.interface, { mtu, limit }),
      log: silentLog,
    });
  const hold = (until: Promise<void>) => void (held = until);
  const foreign: { name?: Tunnel } = {};
  return { path, start, programmed, sizes, pods, hold, foreign };
}

test('an agent that dies amid a change goes on from there, also after an earlier change was complete', async (t) => {
  const { start, programmed, sizes, pods } = rig(t);
  const first = start('vxlan');
  for (const step of ROUTE_STEPS) await first.step(step, 'native');
  assert.deepEqual(first.now(), { sends: 'native', accepts: ['native'], mtu: 1500 });
  await first.step('accept', 'gre');
  // By now the cluster's configuration says native.
  const again = start('native');
  assert.deepEqual(again.now(), { sends: 'native', accepts: ['native', 'gre'], mtu: 1500, limit: 1476 });
  assert.deepEqual(again.routing(), programmed.at(-1));
  pods.push({ interface: 'late', netns: '/late' });
  again.podsChanged();
  assert.deepEqual(
    [...sizes],
    [
      ['a', { mtu: 1500, limit: 1476 }],
      ['late', { mtu: 1500, limit: 1476 }],
    ],
  );
  for (const step of ROUTE_STEPS) await again.step(step, 'gre');
  assert.deepEqual(sizes.get('late'), { mtu: 1476, limit: undefined });
  assert.deepEqual(start('vxlan').now(), { sends: 'gre', accepts: ['gre'], mtu: 1476 });
});

test('a step that was taken before is not over before the data path has it, also after a restart', async (t) => {
  const { start, hold } = rig(t);
  await start('vxlan').step('accept', 'native');
  const programming = Promise.withResolvers<void>();
  hold(programming.promise);
  // Whoever takes the change on asks a fresh agent, whose data path is not there yet.
  const again = start('vxlan');
  let isTaken = false;
  const taken = again.step('accept', 'native').then(() => (isTaken = true));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isTaken, false);
  programming.resolve();
  await taken;
});

test('what the kernel lacks and what is no step is refused, and changes nothing', async (t) => {
  const { start, programmed, path } = rig(t);
  const way = start('vxlan');
  await assert.rejects(way.step('accept', 'geneve'), { code: 'NoTunnel', hint: /CONFIG_GENEVE/ });
  await assert.rejects(way.step('send', 'native'), { code: 'RouteStep' });
  for (const [step, to] of [
    ['jump', 'native'],
    ['accept', 'ipip'],
  ] as const)
    await assert.rejects(way.step(step, to), { code: 'BadRequest' });
  assert.deepEqual(programmed, []);
  assert.throws(() => start('geneve'), { code: 'NoTunnel' });
  await way.step('accept', 'native');
  for (const torn of ['', '{"sends":"na', 'null', '{"sends":"bgp","accepts":[],"mtu":1}']) {
    writeFileSync(path, torn);
    assert.deepEqual(start('vxlan').now().accepts, ['vxlan'], torn);
  }
});

test('a step to a tunnel whose name another link has is refused before anything is written', async (t) => {
  const { path, start, programmed, foreign } = rig(t);
  const way = start('vxlan');
  foreign.name = 'gre';
  await assert.rejects(way.step('accept', 'gre'), { code: 'TunnelNameTaken' });
  assert.deepEqual([way.now().accepts, programmed, existsSync(path)], [['vxlan'], [], false]);
  delete foreign.name;
  assert.deepEqual((await way.step('accept', 'gre')).accepts, ['vxlan', 'gre']);
});
