/** Real packets between nodes by each way that this kernel has, with nothing but the node's own routes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needsRoot } from '../kernel/test-netns.ts';
import { probeTunnels } from '../kernel/tunnel-features.ts';
import { type Encapsulation, ENCAPSULATIONS, podMtu } from './encapsulation.ts';
import { createOverlay, type WayState } from './overlay.ts';
import { type Routing, SETTINGS_KEY } from './plan/tables.ts';
import { createLab, type Lab, type LabNode } from './testing/lab.ts';
import { dialTcp, keepTcp, serveTcp } from './testing/traffic.ts';

const mtuOf = (encapsulation: Encapsulation): number =>
  podMtu({ encapsulation, underlayFamily: 4, underlayMtu: 1500, podFamilies: [4, 6] });

function stateOf(lab: Lab, node: LabNode, routing: Routing): WayState {
  const others = lab.nodes.filter(({ name }) => name !== node.name);
  return {
    routes: new Map(others.map(({ name, remote }) => [name, remote])),
    settings: new Map([[SETTINGS_KEY, { ...node.settings, routing }]]),
  };
}

function createWays(lab: Lab) {
  const overlays = lab.nodes.map(({ route, settings }) =>
    createOverlay(route, { vni: 72, port: 4789, mtu: mtuOf, nodeAddresses: settings.nodeAddresses }),
  );
  return {
    prune: (i: number, routing: Routing) => overlays[i]!.prune(stateOf(lab, lab.nodes[i]!, routing)),
    verify: (i: number, routing: Routing) => overlays[i]!.verify(stateOf(lab, lab.nodes[i]!, routing)),
    become(i: number, routing: Routing) {
      const value = { ...lab.nodes[i]!.settings, routing };
      overlays[i]!.apply([{ table: 'settings', key: SETTINGS_KEY, value }]);
    },
  };
}

const only = (way: Encapsulation): Routing => ({ sends: way, accepts: [way] });

for (const way of ENCAPSULATIONS)
  test(`pods reach pods of another node by ${way}, and nothing else is left`, {
    skip: needsRoot,
  }, async (t) => {
    if (way !== 'native') {
      const { ok, why } = probeTunnels()[way];
      if (!ok) return t.skip(`${why}: npm run check:deep runs it in a test-bed (not in CI)`);
    }
    const lab = createLab(t, 2);
    const [a, b] = lab.nodes.map((node, i) => node.addPod(`pod-${i}`));
    const ways = createWays(lab);
    for (const i of lab.nodes.keys()) {
      assert.ok(ways.prune(i, only(way)).length > 0);
      assert.deepEqual(ways.prune(i, only(way)), [], 'a second time there is nothing to do');
    }
    serveTcp(t, b!.ns, 8080, 'b');
    for (const family of [0, 1] as const)
      assert.deepEqual(await dialTcp(a!.ns, b!.addresses[family], 8080), {
        server: 'b',
        seen: a!.addresses[family],
      });
    lab.nodes[0]!.route.deleteRoute({ dst: '10.244.2.0/24' });
    assert.notDeepEqual(ways.verify(0, only(way)), []);
    ways.prune(0, only(way));
    const other = way === 'vxlan' ? 'native' : 'vxlan';
    ways.prune(0, only(other));
    assert.deepEqual(ways.verify(0, only(other)), []);
    assert.equal(
      lab.nodes[0]!.route.links().filter(({ alias }) => alias === 'heddle:overlay').length,
      other === 'native' ? 0 : 1,
    );
    return undefined;
  });

test('a node that goes over to another way keeps its connections', { skip: needsRoot }, async (t) => {
  const features = probeTunnels();
  const there = ENCAPSULATIONS.filter((way) => way === 'native' || features[way].ok);
  const lab = createLab(t, 2);
  const [a, b] = lab.nodes.map((node, i) => node.addPod(`pod-${i}`));
  const ways = createWays(lab);
  for (const i of lab.nodes.keys()) ways.prune(i, only('vxlan'));
  serveTcp(t, b!.ns, 8080, 'b');
  const kept = await Promise.all(
    [0, 1].map((family) => keepTcp(t, a!.ns, b!.addresses[family as 0 | 1], 8080)),
  );
  let from: Encapsulation = 'vxlan';
  for (const to of [...there.filter((way) => way !== 'vxlan'), 'vxlan'] as const) {
    const accepts = [from, to];
    for (const i of lab.nodes.keys()) ways.become(i, { sends: from, accepts });
    for (const i of lab.nodes.keys()) {
      ways.become(i, { sends: to, accepts });
      for (const each of kept) assert.ok(await each.echo(), `${from} to ${to}: node ${i}`);
    }
    for (const i of lab.nodes.keys()) {
      ways.become(i, only(to));
      assert.deepEqual(ways.verify(i, only(to)), []);
    }
    for (const each of kept) assert.ok(await each.echo());
    from = to;
  }
});

test('without a tunnel, blocks of pools are routed like all ranges of pods, and a node that is nowhere near costs the others nothing', {
  skip: needsRoot,
}, (t) => {
  const lab = createLab(t, 2);
  const [one, two] = lab.nodes;
  const { route, settings } = one!;
  const overlay = createOverlay(route, {
    vni: 72,
    port: 4789,
    mtu: mtuOf,
    nodeAddresses: settings.nodeAddresses,
  });
  const state = stateOf(lab, one!, only('native'));
  const block = { ...two!.remote, podCidrs: [...two!.remote.podCidrs, '10.99.2.0/24'] };
  const odd = { node: 'odd', addresses: ['203.0.113.77'], podCidrs: ['10.244.9.0/24'] };
  const there = () => route.routes().map(({ dst }) => dst);
  overlay.prune({ ...state, routes: new Map([['node-2', block]]) });
  assert.deepEqual(overlay.verify({ ...state, routes: new Map([['node-2', block]]) }), []);
  overlay.apply([{ table: 'routes', key: 'odd', value: odd }]);
  overlay.apply([{ table: 'routes', key: 'node-2', value: two!.remote }]);
  assert.ok(!there().includes('10.99.2.0/24'));
  const routes = new Map([
    ['odd', odd],
    ['node-2', block],
  ]);
  overlay.prune({ ...state, routes });
  assert.ok(there().includes('10.99.2.0/24'));
  assert.ok(
    overlay.verify({ ...state, routes }).some(({ what }) => what.includes('10.244.9.0/24')),
    'it is said',
  );
});

test('the route to a block of a node that went while no agent ran goes when one starts; routes of others stay', {
  skip: needsRoot,
}, (t) => {
  const lab = createLab(t, 2);
  const [one, two] = lab.nodes;
  const { route, settings } = one!;
  const start = () =>
    createOverlay(route, { vni: 72, port: 4789, mtu: mtuOf, nodeAddresses: settings.nodeAddresses });
  const state = stateOf(lab, one!, only('native'));
  const blocks = ['10.99.2.0/24', 'fd99:2::/64'];
  const others = ['198.18.0.0/15', 'fd98::/64'];
  for (const [i, dst] of others.entries())
    route.replaceRoute({ dst, via: two!.remote.addresses[i] ?? '', dev: 'eth0' });
  const there = (dsts: readonly string[]) => {
    const all = new Set(route.routes().map(({ dst }) => dst));
    return dsts.filter((dst) => all.has(dst));
  };
  start().prune({ ...state, routes: new Map([['node-2', { ...two!.remote, podCidrs: blocks }]]) });
  assert.deepEqual(there(blocks), blocks);
  const next = start();
  const alone = { ...state, routes: new Map() };
  assert.equal(next.verify(alone).filter(({ kind }) => kind === 'foreign').length, blocks.length);
  next.prune(alone);
  assert.deepEqual(there(blocks), []);
  assert.deepEqual(there(others), others);
  assert.deepEqual(next.verify(alone), []);
});
