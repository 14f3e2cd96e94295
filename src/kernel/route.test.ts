import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { connectTcp, listenTcp } from './sockets.ts';
import net from 'node:net';
import { once } from 'node:events';
import { openRoute, PROTOCOL, type Route } from './route.ts';
import { needsRoot, testNetns } from './test-netns.ts';

const skip = needsRoot;

function open(t: TestContext) {
  const ns = testNetns(t);
  const route = openRoute(ns);
  t.after(() => route.close());
  return { ns, route };
}

test('a veth is made with its marks, ends in two namespaces, and goes with one end', { skip }, (t) => {
  const [node, pod] = [open(t), open(t)];
  node.route.addVeth({
    name: 'hd0',
    alias: 'heddle:pod:shop/cart:1',
    mtu: 1450,
    mac: '02:00:00:00:00:01',
    peer: { name: 'eth0', netns: pod.ns, mac: '02:00:00:00:00:02' },
  });
  const host = node.route.link('hd0');
  const inside = pod.route.link('eth0');
  assert.equal(host?.alias, 'heddle:pod:shop/cart:1');
  assert.deepEqual([host.kind, host.mtu, host.mac, host.up], ['veth', 1450, '02:00:00:00:00:01', false]);
  assert.deepEqual([inside?.mtu, inside?.mac, host.peer], [1450, '02:00:00:00:00:02', inside?.index]);
  node.route.setLink('hd0', { up: true });
  assert.equal(node.route.link('hd0')?.running, false);
  pod.route.setLink('eth0', { up: true });
  assert.equal(node.route.link('hd0')?.running, true);
  assert.equal(node.route.deleteLink('hd0'), true);
  assert.equal(pod.route.link('eth0'), undefined);
  assert.equal(node.route.deleteLink('hd0'), false);
});

test('links change: name, MTU, bridge, alias', { skip }, (t) => {
  const { route } = open(t);
  route.addBridge({ name: 'br0', alias: 'heddle:underlay' });
  route.addVeth({ name: 'a', peer: { name: 'b' } });
  route.setLink('a', { name: 'c', mtu: 1300, master: 'br0', alias: 'x' });
  const changed = route.link('c');
  assert.deepEqual([changed?.mtu, changed?.master, changed?.alias], [1300, route.link('br0')?.index, 'x']);
  route.setLink('c', { master: null });
  assert.equal(route.link('c')?.master, undefined);
  assert.deepEqual(
    route
      .links()
      .map((link) => link.name)
      .sort(),
    ['b', 'br0', 'c', 'lo'],
  );
});

test("a link without IPv6 addresses of the kernel's own has none", { skip }, async (t) => {
  const { route } = open(t);
  route.addVeth({ name: 'a', peer: { name: 'b' } });
  route.setLink('a', { ipv6Addresses: 'none' });
  for (const name of ['a', 'b']) route.setLink(name, { up: true });
  const owners = () =>
    route.addresses().flatMap((each) => (each.address.startsWith('fe80') ? [each.link] : []));
  // The kernel gives the other end its address when it has noticed the carrier.
  while (owners().length === 0) await new Promise(setImmediate);
  assert.deepEqual(owners(), [route.link('b')?.index]);
});

test('addresses are given once and taken once; nodad makes IPv6 usable at once', { skip }, (t) => {
  const { route } = open(t);
  route.addVeth({ name: 'a', peer: { name: 'b' } });
  route.setLink('a', { up: true });
  for (const address of ['10.0.0.5/24', 'fd00::5/64']) {
    route.replaceAddress('a', address, { nodad: true });
    route.replaceAddress('a', address, { nodad: true });
    const found = route.addresses().filter((entry) => entry.address === address);
    assert.deepEqual(
      found.map((entry) => entry.tentative),
      [false],
    );
    assert.equal(route.deleteAddress('a', address), true);
    assert.equal(route.deleteAddress('a', address), false);
  }
});

test('routes of both families carry the mark, are replaced in place, and only ours are deleted', {
  skip,
}, (t) => {
  const { route } = open(t);
  route.addVeth({ name: 'a', peer: { name: 'b' } });
  for (const name of ['a', 'b']) route.setLink(name, { up: true });
  route.replaceAddress('a', '10.1.0.1/24');
  route.replaceAddress('a', 'fd01::1/64', { nodad: true });
  const hops = {
    '10.9.0.0/16': ['10.1.0.2', '10.1.0.3', '10.1.0.1'],
    'fd09::/48': ['fd01::2', 'fd01::3', 'fd01::1'],
  };
  for (const [dst, [first, second, src]] of Object.entries(hops)) {
    const find = () => route.routes().filter((entry) => entry.dst === dst);
    route.replaceRoute({ dst, via: first, dev: 'a', src });
    route.replaceRoute({ dst, via: second, dev: 'a', src });
    assert.deepEqual(
      find().map(({ via, src, protocol, dev }) => ({ via, src, protocol, dev })),
      [{ via: second, src, protocol: PROTOCOL, dev: route.link('a')?.index }],
    );
    assert.equal(route.deleteRoute({ dst }), true);
    assert.equal(route.deleteRoute({ dst }), false);
  }
  assert.equal(route.deleteRoute({ dst: '10.1.0.0/24', dev: 'a' }), false);
  assert.ok(route.routes().some((entry) => entry.dst === '10.1.0.0/24'));
});

test('a route may go on-link to an address nobody has, to nowhere, or sit in a table of its own', {
  skip,
}, (t) => {
  const { route } = open(t);
  route.addVeth({ name: 'a', peer: { name: 'b' } });
  route.setLink('a', { up: true });
  route.replaceRoute({ dst: '0.0.0.0/0', via: '169.254.1.1', dev: 'a', onlink: true });
  route.replaceRoute({ dst: '::/0', via: 'fe80::1', dev: 'a', onlink: true });
  route.replaceRoute({ dst: '10.244.0.0/24', type: 'blackhole' });
  route.replaceRoute({ dst: '10.3.0.0/24', dev: 'a', table: 1000 });
  const ours = route.routes().filter((entry) => entry.protocol === PROTOCOL);
  assert.deepEqual(ours.map(({ dst, onlink, type, table }) => [dst, onlink, type, table].join(' ')).sort(), [
    '0.0.0.0/0 true unicast 254',
    '10.244.0.0/24 false blackhole 254',
    '10.3.0.0/24 false unicast 1000',
    '::/0 true unicast 254',
  ]);
  assert.equal(route.deleteRoute({ dst: '10.3.0.0/24', table: 1000 }), true);
});

test('neighbours and forwarding entries are permanent, replaced in place, deleted once', { skip }, (t) => {
  const { route } = open(t);
  route.addVxlan({
    name: 'vx',
    vni: 7,
    port: 8472,
    local: '10.240.0.11',
    mac: '02:00:00:00:00:01',
    mtu: 1450,
  });
  route.setLink('vx', { up: true });
  assert.deepEqual(route.link('vx')?.vxlan, { vni: 7, port: 8472, local: '10.240.0.11' });
  for (const address of ['10.244.1.0', 'fd00::1']) {
    for (const mac of ['02:00:00:00:00:02', '02:00:00:00:00:03'])
      route.replaceNeighbour({ dev: 'vx', address, mac });
    assert.deepEqual(
      route.neighbours().filter((entry) => entry.address === address),
      [
        {
          dev: route.link('vx')?.index,
          address,
          mac: '02:00:00:00:00:03',
          permanent: true,
          protocol: PROTOCOL,
        },
      ],
    );
    assert.equal(route.deleteNeighbour({ dev: 'vx', address }), true);
    assert.equal(route.deleteNeighbour({ dev: 'vx', address }), false);
  }
  const mac = '02:00:00:00:00:02';
  for (const dst of ['10.240.0.12', '10.240.0.13']) route.replaceFdb({ dev: 'vx', mac, dst });
  assert.deepEqual(
    route
      .fdb()
      .filter((entry) => entry.mac === mac)
      .map((entry) => entry.dst),
    ['10.240.0.13'],
  );
  assert.equal(route.deleteFdb({ dev: 'vx', mac }), true);
  assert.equal(route.deleteFdb({ dev: 'vx', mac }), false);
});

test('a neighbour that is asked for is found, marked, asked for once, and forgotten', { skip }, async (t) => {
  const [node, other] = [open(t), open(t)];
  const mac = '02:00:00:00:00:02';
  node.route.addVeth({ name: 'hd0', peer: { name: 'eth0', netns: other.ns, mac } });
  node.route.setLink('hd0', { up: true });
  other.route.setLink('eth0', { up: true });
  node.route.replaceAddress('hd0', '10.240.0.11/24');
  other.route.replaceAddress('eth0', '10.240.0.12/24');
  const [address, silent] = ['10.240.0.12', '10.240.0.13'];
  for (let i = 0; i < 2; i++)
    for (const asked of [address, silent]) node.route.askNeighbour({ dev: 'hd0', address: asked });
  const known = () =>
    node.route
      .neighbours()
      .filter(({ protocol }) => protocol === PROTOCOL)
      .map((each) => ({ address: each.address, mac: each.mac, permanent: each.permanent }))
      .toSorted((a, b) => (a.address < b.address ? -1 : 1));
  while (!known()[0]?.mac) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.deepEqual(known(), [
    { address, mac, permanent: false },
    { address: silent, mac: '', permanent: false },
  ]);
  const [uplink, loopback] = ['hd0', 'lo'].map((name) => node.route.link(name)?.index);
  assert.deepEqual(
    node.route.neighbours(uplink),
    node.route.neighbours().filter(({ dev }) => dev === uplink),
  );
  assert.ok(node.route.neighbours(loopback).every(({ dev }) => dev === loopback));
  for (const asked of [address, silent]) node.route.deleteNeighbour({ dev: 'hd0', address: asked });
  assert.deepEqual(known(), []);
});

test('the way to an address names link and gateway, or there is none', { skip }, (t) => {
  const { route } = open(t);
  route.addVeth({ name: 'hd0', peer: { name: 'hd1' } });
  for (const end of ['hd0', 'hd1']) route.setLink(end, { up: true });
  const dev = route.link('hd0')?.index;
  for (const [own, on, gateway, beyond] of [
    ['10.240.0.11/24', '10.240.0.12', '10.240.0.1', '10.9.0.1'],
    ['fd00:10:240::11/64', 'fd00:10:240::12', 'fd00:10:240::1', 'fd00:9::1'],
  ] as const) {
    assert.equal(route.routeTo(beyond), undefined);
    route.replaceAddress('hd0', own, { nodad: true });
    route.replaceRoute({ dst: beyond.includes(':') ? 'fd00:9::/64' : '10.9.0.0/24', via: gateway });
    const way = (address: string) => {
      const found = route.routeTo(address);
      return found && { dev: found.dev, via: found.via };
    };
    assert.deepEqual(
      [way(on), way(beyond)],
      [
        { dev, via: undefined },
        { dev, via: gateway },
      ],
    );
    const written = route.routeTo(beyond, { asWritten: true });
    assert.deepEqual(
      [
        written?.via,
        written?.protocol,
        written?.dst.startsWith('10.9.0.0/24') || written?.dst.startsWith('fd00:9::/64'),
      ],
      [gateway, PROTOCOL, true],
    );
    route.replaceRoute({ dst: on.includes(':') ? `${on}/128` : `${on}/32`, type: 'unreachable' });
    assert.equal(way(on)?.dev === dev, false);
  }
});

test('a thousand routes are listed whole', { skip }, (t) => {
  const { route } = open(t);
  for (let i = 0; i < 1000; i++)
    route.replaceRoute({ dst: `10.${i >> 8}.${i & 255}.0/24`, type: 'unreachable' });
  assert.equal(route.routes().filter((entry) => entry.protocol === PROTOCOL).length, 1000);
});

test('a tunnel over IPv6 names its IPv6 end', { skip }, (t) => {
  const { route } = open(t);
  route.addVxlan({ name: 'vx6', vni: 9, port: 8472, local: 'fd00:10:240::b' });
  assert.equal(route.link('vx6')?.vxlan?.local, 'fd00:10:240::b');
});

test('traffic follows what was set: a pod is reached through permanent neighbours alone', {
  skip,
}, async (t) => {
  const [node, pod] = [open(t), open(t)];
  const [hostMac, podMac] = ['02:00:00:00:00:01', '02:00:00:00:00:02'];
  node.route.addVeth({ name: 'hd0', mac: hostMac, peer: { name: 'eth0', netns: pod.ns, mac: podMac } });
  node.route.setLink('hd0', { up: true });
  pod.route.setLink('eth0', { up: true });
  node.route.replaceAddress('lo', '10.240.0.11/32');
  node.route.replaceAddress('lo', 'fd00:10:240::b/128', { nodad: true });
  const families = [
    { address: '10.244.0.5', length: 32, all: '0.0.0.0/0', gateway: '169.254.1.1', node: '10.240.0.11' },
    { address: 'fd00:10:244::5', length: 128, all: '::/0', gateway: 'fe80::1', node: 'fd00:10:240::b' },
  ];
  for (const { address, length, all, gateway, node: source } of families) {
    pod.route.replaceAddress('eth0', `${address}/${length}`, { nodad: true });
    pod.route.replaceRoute({ dst: all, via: gateway, dev: 'eth0', onlink: true });
    pod.route.replaceNeighbour({ dev: 'eth0', address: gateway, mac: hostMac });
    node.route.replaceRoute({ dst: `${address}/${length}`, dev: 'hd0', src: source });
    node.route.replaceNeighbour({ dev: 'hd0', address, mac: podMac });
    const server = net.createServer((socket) => socket.end(socket.remoteAddress ?? ''));
    server.listen({ fd: listenTcp(pod.ns, address, 8080) });
    const client = await connectTcp(node.ns, { host: address, port: 8080 });
    const [from] = await once(client, 'data');
    assert.equal(String(from), source);
    client.destroy();
    server.close();
  }
});

const mistakes: readonly [string, (route: Route) => void, RegExp][] = [
  [
    'a gateway out of reach',
    (r) => r.replaceRoute({ dst: '9.9.9.0/24', via: '1.2.3.4' }),
    /route to 9\.9\.9\.0\/24 via 1\.2\.3\.4.*ENETUNREACH \(.+\)/,
  ],
  ['a link that is there', (r) => r.addBridge({ name: 'lo' }), /add the link lo.*EEXIST/],
  ['a link that is not there', (r) => r.setLink('nope', { up: true }), /no link nope/],
  ['a name too long', (r) => r.addBridge({ name: 'a-name-of-sixteen' }), /cannot name a network interface/],
  ['a bad MAC', (r) => r.addBridge({ name: 'x', mac: '02:0' }), /not a MAC address/],
  ['a bad range', (r) => r.replaceRoute({ dst: 'x' }), /not an address range/],
];

for (const [what, wrong, expected] of mistakes)
  test(`${what} is an error that says so`, { skip }, (t) => {
    const { route } = open(t);
    assert.throws(() => wrong(route), { name: 'HeddleError', message: expected });
  });

test('a route of several ways, and two to one place told apart by their metric', { skip }, (t) => {
  const { route } = open(t);
  for (const [name, mine] of [
    ['a', 1],
    ['b', 2],
  ] as const) {
    route.addVeth({ name, peer: { name: `${name}-peer` } });
    for (const end of [name, `${name}-peer`]) route.setLink(end, { up: true });
    route.replaceAddress(name, `10.0.${mine}.1/24`);
    route.replaceAddress(name, `fd00:${mine}::1/64`, { nodad: true });
  }
  const [a, b] = ['a', 'b'].map((name) => route.link(name)?.index ?? 0);
  for (const [dst, ways] of [
    ['10.9.0.0/16', ['10.0.1.2', '10.0.2.2']],
    ['fd09::/16', ['fd00:1::2', 'fd00:2::2']],
  ] as const) {
    const of = () => route.routes().filter((entry) => entry.dst === dst);
    const hops = [
      { via: ways[0], dev: 'a' },
      { via: ways[1], dev: 'b' },
    ];
    route.replaceMultipath({ dst, metric: 500 }, hops);
    assert.deepEqual(
      of().map(({ hops, metric, protocol }) => ({ hops, metric, protocol })),
      [
        {
          hops: [
            { via: ways[0], dev: a },
            { via: ways[1], dev: b },
          ],
          metric: 500,
          protocol: PROTOCOL,
        },
      ],
    );
    route.replaceRoute({ dst, via: ways[1], dev: 'b', metric: 500 });
    route.replaceRoute({ dst, via: ways[0], dev: 'a', metric: 600 });
    assert.deepEqual(
      of().map(({ via, metric }) => [via, metric]),
      [
        [ways[1], 500],
        [ways[0], 600],
      ],
    );
    assert.equal(route.deleteRoute({ dst, metric: 500 }), true);
    assert.equal(route.deleteRoute({ dst, metric: 500 }), false);
    assert.deepEqual(
      of().map(({ metric }) => metric),
      [600],
    );
  }
});
