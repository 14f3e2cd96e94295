import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRoute } from '../kernel/route.ts';
import { needsRoot } from '../kernel/test-netns.ts';
import { createOverlay, type WayState } from './overlay.ts';
import { type RemoteNode, SETTINGS_KEY } from './plan/tables.ts';
import { createLab } from './testing/lab.ts';
import { vtepLinkLocal, vtepMac } from './vtep.ts';

test('the MAC of a tunnel end is that of its node address, locally administered', () => {
  assert.equal(vtepMac('10.240.0.11'), '02:72:0a:f0:00:0b');
  assert.notEqual(vtepMac('fd00::1'), vtepMac('fd00::2'));
  assert.equal(vtepLinkLocal('02:72:0a:f0:00:0b'), 'fe80::72:aff:fef0:b');
});

const remote = (number: number, change: Partial<RemoteNode> = {}): RemoteNode => ({
  node: `far-${number}`,
  addresses: [`10.240.0.${number}`, `fd00:10:240::${number}`],
  podCidrs: [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`],
  ...change,
});

const asMap = (...nodes: RemoteNode[]): WayState => ({
  routes: new Map(nodes.map((node) => [node.node, node])),
  settings: new Map(),
});

test('routes follow the nodes, and what is done by hand is undone', { skip: needsRoot }, (t) => {
  const node = createLab(t, 1).nodes[0]!;
  const route = openRoute(node.ns);
  t.after(() => route.close());
  const open = (mtu = 1450) =>
    createOverlay(route, { vni: 7, port: 4789, mtu, nodeAddresses: node.settings.nodeAddresses });
  const overlay = open();
  const wanted = asMap(remote(21), remote(22));
  assert.ok(overlay.prune(wanted).length > 0);
  assert.deepEqual(overlay.prune(wanted), []);
  assert.deepEqual(open().prune(wanted), [], 'after a restart too');

  const moved = remote(22, { addresses: ['10.240.0.99'] });
  overlay.apply([
    { table: 'routes', key: 'far-21', value: undefined },
    { table: 'routes', key: 'far-22', value: moved },
    { table: 'routes', key: 'far-23', value: remote(23) },
  ]);
  const now = asMap(moved, remote(23));
  assert.deepEqual(overlay.verify(now), [], 'changes add up to the state');

  const link = () => route.link('vxlan0')!;
  const harm: [string, () => void][] = [
    ['a route is deleted', () => route.deleteRoute({ dst: '10.244.23.0/24', dev: 'vxlan0' })],
    [
      'a neighbour has another MAC',
      () => route.replaceNeighbour({ dev: 'vxlan0', address: '10.240.0.23', mac: '02:00:00:00:00:01' }),
    ],
    ['a tunnel end is deleted', () => route.deleteFdb({ dev: 'vxlan0', mac: vtepMac('10.240.0.23') })],
    ['a route is added', () => route.replaceRoute({ dst: '10.244.77.0/24', dev: 'vxlan0' })],
    ['the link is down', () => route.setLink('vxlan0', { up: false })],
    ['the link has another MTU', () => route.setLink('vxlan0', { mtu: 1300 })],
    ['the link is gone', () => route.deleteLink('vxlan0')],
  ];
  for (const [what, damage] of harm) {
    damage();
    assert.notDeepEqual(overlay.verify(now), [], what);
    overlay.prune(now);
    assert.deepEqual(overlay.verify(now), [], what);
  }
  assert.equal(link().mtu, 1450);
  open(1400).prune(now);
  assert.equal(link().mtu, 1400);
  overlay.prune(asMap());
  assert.deepEqual(
    route.routes().filter(({ dev, protocol }) => dev === link().index && protocol === 72),
    [],
  );
});

test("another's link by the name of a tunnel stays as it is, and is named; ours, and ours half made, are mended", {
  skip: needsRoot,
}, (t) => {
  const node = createLab(t, 1).nodes[0]!;
  const route = openRoute(node.ns);
  t.after(() => route.close());
  const { nodeAddresses } = node.settings;
  const options = { vni: 7, port: 4789, mtu: 1450, nodeAddresses };
  const overlay = createOverlay(route, options);
  const wanted = asMap(remote(21));
  const own = { name: 'vxlan0', vni: 7, port: 4789, local: nodeAddresses[0]! };
  const foreign: [string, () => void][] = [
    ['a bridge', () => route.addBridge({ name: 'vxlan0' })],
    ['a VXLAN of another number', () => route.addVxlan({ ...own, vni: 9 })],
    ['one of the same number that somebody uses', () => route.addVxlan({ ...own, alias: 'mine' })],
  ];
  for (const [what, make] of foreign) {
    make();
    route.setLink('vxlan0', { up: true });
    const before = route.link('vxlan0');
    assert.throws(() => overlay.prune(wanted), { code: 'TunnelNameTaken', message: /vxlan0/ }, what);
    assert.ok(
      overlay.verify(wanted).some((each) => each.what.includes('which was not made here')),
      what,
    );
    assert.deepEqual(route.link('vxlan0'), before, what);
    route.deleteLink('vxlan0');
    overlay.prune(wanted);
    assert.deepEqual(overlay.verify(wanted), [], 'once the name is free');
    route.deleteLink('vxlan0');
  }
  const ours: [string, () => void][] = [
    ['of another number', () => route.addVxlan({ ...own, vni: 9, alias: 'heddle:overlay' })],
    ['without its mark yet', () => route.addVxlan(own)],
  ];
  for (const [what, make] of ours) {
    make();
    overlay.prune(wanted);
    assert.deepEqual(overlay.verify(wanted), [], what);
    assert.equal(route.link('vxlan0')?.alias, 'heddle:overlay', what);
    route.deleteLink('vxlan0');
  }
  // No kernel needs to have GENEVE for its name to be taken.
  route.addBridge({ name: 'geneve0' });
  const both: WayState = {
    ...wanted,
    settings: new Map([
      [SETTINGS_KEY, { ...node.settings, routing: { sends: 'vxlan', accepts: ['vxlan', 'geneve'] } }],
    ]),
  };
  assert.throws(() => overlay.prune(both), { code: 'TunnelNameTaken', message: /geneve0 \(bridge\)/ });
  assert.equal(route.link('vxlan0'), undefined, 'nothing was begun');
  assert.equal(route.link('geneve0')?.kind, 'bridge');
});
