import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { linkInfo } from '../../../kernel/bpf/link.ts';
import { attachXdp } from '../../../kernel/bpf/links.ts';
import { getPinned } from '../../../kernel/bpf/syscall.ts';
import { openRoute } from '../../../kernel/route.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import type { Protection } from '../../plan/tables.ts';
import { TARGETS } from '../../testing/frontends.ts';
import { both, NODE_PORT, wish } from '../../testing/service-lab.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpf } from '../../testing/ebpf.ts';
import { GATEWAYS, OUTSIDE } from '../../testing/lab.ts';
import { dialTcp, dialUdp, keepTcp, serveTcp, serveUdp } from '../../testing/traffic.ts';
import { DROP, dropped, openSink, protectionChange, sendBurst } from './testing.ts';

const PORT = 7000;
const FAMILIES = [0, 1] as const;

async function scene(t: TestContext) {
  const cluster = await createCluster(t, openEbpf, [['a'], ['b']]);
  const [node, other] = cluster.lab.nodes;
  const [backend] = cluster.backends;
  assert.ok(node && other && backend);
  serveTcp(t, node.ns, PORT, 'node');
  serveUdp(t, node.ns, node.settings.nodeAddresses, PORT, 'node');
  const addresses = node.settings.nodeAddresses as [string, string];
  return {
    cluster,
    node,
    other,
    backend,
    addresses,
    outside: cluster.lab.outside,
    protect: (protection: Partial<Protection> | undefined) => backend.apply([protectionChange(protection)]),
    dropped: (reason: number) => dropped(backend.programs, reason),
    attachment: () => {
      const fd = getPinned(backend.programs.linkPath('xdp-uplink'));
      return fd === undefined ? undefined : linkInfo(fd);
    },
  };
}

test('what a denied range sends is met with silence, others are heard, and all are again once it is gone', {
  skip: needsRoot,
}, async (t) => {
  const { protect, outside, addresses, dropped, attachment } = await scene(t);
  const denied = ['192.0.2.0/24', '2001:db8::/32'];
  assert.equal(attachment(), undefined, 'nothing is attached for nothing');
  await protect({ denied });
  assert.ok(attachment());
  for (const family of FAMILIES) {
    const to = addresses[family];
    const before = dropped(DROP.denied);
    const from = (localAddress: string) => dialTcp(outside, to, PORT, { localAddress });
    assert.deepEqual(await from(OUTSIDE[family]), { why: 'ETIMEDOUT' });
    assert.deepEqual(await dialUdp(outside, to, PORT, { localAddress: OUTSIDE[family] }), {
      why: 'ETIMEDOUT',
    });
    assert.ok(dropped(DROP.denied) > before);
    assert.deepEqual(await from(GATEWAYS[family]), { server: 'node', seen: GATEWAYS[family] });
  }
  await protect({ denied: ['198.51.100.0/24', '2001:db8::/32'] });
  assert.equal((await dialTcp(outside, addresses[0], PORT, { localAddress: OUTSIDE[0] })).server, 'node');
  assert.deepEqual(await dialTcp(outside, addresses[1], PORT, { localAddress: OUTSIDE[1] }), {
    why: 'ETIMEDOUT',
  });
  await protect(undefined);
  assert.equal(attachment(), undefined);
  for (const family of FAMILIES)
    assert.equal(
      (await dialTcp(outside, addresses[family], PORT, { localAddress: OUTSIDE[family] })).server,
      'node',
    );
});

test('everybody is denied, and nodes and the API server are heard', { skip: needsRoot }, async (t) => {
  const { protect, backend, node, other, outside, addresses } = await scene(t);
  const settings = { ...node.settings, controlAddresses: [...GATEWAYS] };
  await backend.apply([{ table: 'settings', key: 'node', value: settings }]);
  await protect({ denied: ['0.0.0.0/0', '::/0'], packets: { perSecond: 1, burst: 1 } });
  for (const family of FAMILIES) {
    const to = addresses[family];
    assert.deepEqual(await dialTcp(outside, to, PORT, { localAddress: OUTSIDE[family] }), {
      why: 'ETIMEDOUT',
    });
    for (let i = 0; i < 3; i++) {
      assert.equal((await dialTcp(other.ns, to, PORT)).server, 'node', `node, family ${family}`);
      assert.equal((await dialTcp(outside, to, PORT, { localAddress: GATEWAYS[family] })).server, 'node');
    }
  }
});

test('a source is given its burst and not one packet more, whoever else sends, both families', {
  skip: needsRoot,
}, async (t) => {
  const { protect, node, outside, addresses, dropped } = await scene(t);
  // One packet is paid in a thousand seconds: none during the test.
  await protect({ packets: { perSecond: 1, burst: 50 } });
  for (const family of FAMILIES) {
    const sink = openSink(t, node.ns, addresses[family], 7001);
    const before = dropped(DROP.packetRate);
    const began = performance.now();
    sendBurst(outside, OUTSIDE[family], addresses[family], 7001, 300);
    const paid = Math.ceil((performance.now() - began) / 1000);
    const passed = sink.count();
    assert.ok(passed >= 50 && passed <= 50 + paid, `${passed} passed`);
    assert.ok(dropped(DROP.packetRate) - before >= 250 - paid);
    sendBurst(outside, GATEWAYS[family], addresses[family], 7001, 20);
    assert.equal(sink.count(), 20, 'another source has its own');
  }
});

test('new connections are limited, those that are established are not', { skip: needsRoot }, async (t) => {
  const { protect, outside, addresses, dropped } = await scene(t);
  for (const family of FAMILIES) {
    await protect(undefined);
    const to = addresses[family];
    const kept = await keepTcp(t, outside, to, PORT);
    await protect({
      packets: { perSecond: 1, burst: 20 },
      connections: { perSecond: 1, burst: 5 },
    });
    const before = dropped(DROP.connectionRate);
    const dials = Array.from({ length: 12 }, () =>
      dialTcp(outside, to, PORT, { localAddress: OUTSIDE[family] }),
    );
    const passed = (await Promise.all(dials)).filter(({ server }) => server === 'node').length;
    // SYNs are sent again after a second at the earliest, when the dialers have given up.
    assert.ok(passed >= 5 && passed <= 6, `${passed} connections`);
    assert.ok(dropped(DROP.connectionRate) > before);
    for (let i = 0; i < 60; i++) assert.ok(await kept.echo(), 'more than the packets of a source');
  }
});

test('a connection to a service of a pod is outside of the limits once it stands', {
  skip: needsRoot,
}, async (t) => {
  const { cluster, protect, outside, addresses } = await scene(t);
  serveTcp(t, cluster.pod('a').ns, TARGETS.TCP, 'a');
  serveTcp(t, cluster.pod('b').ns, TARGETS.TCP, 'b');
  for (const [i, name] of ['a', 'b'].entries()) {
    await cluster.setFrontends(both(wish('NodePort', [cluster.pod(name)], { port: NODE_PORT + i })));
    for (const family of FAMILIES) {
      await protect(undefined);
      const kept = await keepTcp(t, outside, addresses[family], NODE_PORT + i);
      await protect({ packets: { perSecond: 1, burst: 10 } });
      for (let n = 0; n < 40; n++) assert.ok(await kept.echo(), `${name}, packet ${n}`);
    }
  }
});

test('addresses of one /64 are one source', { skip: needsRoot }, async (t) => {
  const { protect, node, outside, addresses } = await scene(t);
  const route = openRoute(outside);
  t.after(() => route.close());
  route.replaceAddress('lo', '2001:db8::2/128', { nodad: true });
  route.replaceAddress('lo', '2001:db8:0:1::2/128', { nodad: true });
  await protect({ packets: { perSecond: 1, burst: 20 } });
  const sink = openSink(t, node.ns, addresses[1], 7001);
  sendBurst(outside, OUTSIDE[1], addresses[1], 7001, 30);
  assert.ok(sink.count() <= 21);
  sendBurst(outside, '2001:db8::2', addresses[1], 7001, 30);
  assert.ok(sink.count() <= 1, 'its neighbour has taken all');
  sendBurst(outside, '2001:db8:0:1::2', addresses[1], 7001, 20);
  assert.equal(sink.count(), 20);
});

test('all sources together begin no more connections than the node takes', { skip: needsRoot }, async (t) => {
  const { protect, outside, addresses } = await scene(t);
  await protect({ allConnections: { perSecond: 1, burst: 4 } });
  const sources = [OUTSIDE[0], GATEWAYS[0]];
  const dials = Array.from({ length: 12 }, (_, i) =>
    dialTcp(outside, addresses[0], PORT, { localAddress: sources[i % 2] ?? '' }),
  );
  const passed = (await Promise.all(dials)).filter(({ server }) => server === 'node').length;
  assert.ok(passed >= 4 && passed <= 5, `${passed} connections`);
});

test('pods hear the answers that they asked for, however many', { skip: needsRoot }, async (t) => {
  const { cluster, protect, outside } = await scene(t);
  const pod = cluster.pod('a');
  serveUdp(t, outside, OUTSIDE, PORT, 'outside');
  await protect({ packets: { perSecond: 1, burst: 1 } });
  for (const family of FAMILIES)
    for (let i = 0; i < 20; i++)
      assert.equal((await dialUdp(pod.ns, OUTSIDE[family], PORT)).server, 'outside', `answer ${i}`);
});

test('a new program takes over the attachment, and nobody who is denied slips through meanwhile', {
  skip: needsRoot,
}, async (t) => {
  const { cluster, node, protect, outside, addresses, attachment, backend } = await scene(t);
  await protect({ denied: ['192.0.2.0/24'] });
  const sink = openSink(t, node.ns, addresses[0], 7001);
  const before = attachment();
  const successor = openEbpf(t, node);
  const state = structuredClone({ ...cluster.plans[0]!.state });
  const wanted = {
    ...state,
    protection: new Map([['node', protectionChange({ denied: ['192.0.2.0/24'] }).value]]),
  };
  const done = new AbortController();
  const flood = (async () => {
    while (!done.signal.aborted) {
      sendBurst(outside, OUTSIDE[0], addresses[0], 7001, 50);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const mended = await successor.prune(wanted as typeof state);
  done.abort();
  await flood;
  assert.deepEqual(mended, []);
  assert.equal(sink.count(), 0);
  assert.equal(attachment()?.ifindex, before?.ifindex);
  assert.deepEqual(await successor.verify(), []);
  backend.close();
});

test('what was taken away by somebody is put back, and said', { skip: needsRoot }, async (t) => {
  const { cluster, protect, backend, attachment } = await scene(t);
  const value = protectionChange({ denied: ['192.0.2.0/24'] }).value as Protection;
  await protect(value);
  const state = { ...cluster.plans[0]!.state, protection: new Map([['node', value]]) };
  const { key } = [...backend.programs.map('denied4').entries()].map(([bytes]) => ({ key: bytes }))[0]!;
  backend.programs.map('denied4').delete(key);
  assert.equal((await backend.verify()).length, 1);
  assert.equal((await backend.prune(state)).length, 1);
  assert.deepEqual(await backend.verify(), []);
  await backend.remove?.();
  assert.equal(attachment(), undefined);
});

test("somebody else's program stays where it is, and the rest of the data path goes on", {
  skip: needsRoot,
}, async (t) => {
  const { protect, backend, node, outside, addresses } = await scene(t);
  const link = node.route.link('eth0')?.index ?? 0;
  const pinPath = backend.programs.linkPath('another');
  attachXdp({ ifindex: link, ns: node.ns, program: backend.programs.program('xdp_uplink'), pinPath });
  await protect({ denied: ['192.0.2.0/24'] });
  assert.deepEqual(await backend.verify(), [{ kind: 'missing', what: 'program xdp_uplink at the uplink' }]);
  assert.equal((await dialTcp(outside, addresses[0], PORT)).server, 'node');
});
