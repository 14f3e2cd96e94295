import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { connectTcp, listenTcp } from '../kernel/sockets.ts';
import { needsRoot } from '../kernel/test-netns.ts';
import { silentLog } from '../lib/log.ts';
import type { Backend } from './backend.ts';
import { shapeOf } from '../kernel/shaper.ts';
import { createShaper, withBandwidth } from './bandwidth.ts';
import { openSink, sendBurst } from './ebpf/xdp/testing.ts';
import type { Bandwidth } from './plan/tables.ts';
import { type Cluster, createCluster, type OpenBackend, serviceAddresses } from './testing/cluster.ts';
import { openEbpf } from './testing/ebpf.ts';
import type { LabPod } from './testing/lab.ts';
import { openNftables } from './testing/nftables.ts';
import { ICMP, sendPacket, settled, witness } from './testing/packets.ts';
import { dialTcp, dialUdp, serveTcp, serveUdp } from './testing/traffic.ts';

const PORT = 7300;
const MEGABIT = 1_000_000;
/** In a deep check: a busy machine may leave too little time to send that much. */
const TRIES = 8;
/** Of a full packet: Ethernet, IPv4, TCP with time stamps. */
const PAYLOAD_SHARE = 1398 / 1464;

interface Contender {
  readonly name: string;
  readonly open: OpenBackend;
  readonly skip: string | false;
}

const deep = process.env['HEDDLE_DEEP'] === '1';
const BACKENDS: readonly Contender[] = [
  { name: 'eBPF', open: openEbpf, skip: needsRoot },
  {
    name: 'nftables',
    open: openNftables,
    skip: needsRoot || (!deep && 'the queues are those of eBPF’s pods: npm run check:deep (not in CI)'),
  },
];

async function scene(t: TestContext, open: OpenBackend): Promise<Cluster> {
  return createCluster<Backend>(
    t,
    (test_, node) =>
      withBandwidth(open(test_, node), createShaper({ ns: node.ns, route: node.route, log: silentLog })),
    [['a', 'b'], ['c']],
  );
}

async function setBandwidth(cluster: Cluster, name: string, bandwidth: Bandwidth | undefined): Promise<void> {
  for (const [i, plan] of cluster.plans.entries())
    plan.setLocalPods(
      cluster.lab.nodes[i]!.pods().map((pod) => (pod.name === name ? { ...pod, bandwidth } : pod)),
    );
  await cluster.apply();
}

/** Seconds until so many bytes of a stream have come from one pod to another. */
async function secondsFor(bytes: number, from: LabPod, to: LabPod, family: 0 | 1): Promise<number> {
  let received = 0;
  const all = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => {
      received += data.length;
      if (received >= bytes) all.resolve();
    });
  });
  server.listen({ fd: listenTcp(to.ns, '::', PORT) });
  const client = await connectTcp(from.ns, { host: to.addresses[family], port: PORT, timeoutMs: 60_000 });
  client.on('error', all.reject);
  const block = Buffer.alloc(65_536);
  const pump = () => {
    while (!client.destroyed && client.write(block));
  };
  client.on('drain', pump);
  const began = performance.now();
  pump();
  await all.promise;
  const seconds = (performance.now() - began) / 1000;
  for (const socket of [client, ...sockets]) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  return seconds;
}

/** What so many bytes of a stream take at least under a limit, however fast the machine is. */
const leastSeconds = (bytes: number, limit: number): number =>
  ((bytes / PAYLOAD_SHARE - shapeOf(limit).burst) * 8) / limit;

/** A stream is never faster than the limit; in a deep check it uses it, once the machine leaves it the time to. */
async function getsLimit(t: TestContext, from: LabPod, to: LabPod, limit: number, family: 0 | 1 = 0) {
  const bytes = (limit / 8) * (deep ? 3 : 0.7);
  const least = leastSeconds(bytes, limit);
  for (let tries = 1; ; tries++) {
    const seconds = await secondsFor(bytes, from, to, family);
    t.diagnostic(`${from.name} to ${to.name}: ${seconds.toFixed(2)} s, at least ${least.toFixed(2)} s`);
    assert.ok(seconds > 0.95 * least, `${seconds} s for what takes ${least} s`);
    if (!deep || seconds < least / 0.9) return;
    assert.ok(tries < TRIES, 'the limit was never used');
  }
}

for (const { name, open, skip } of BACKENDS) {
  test(`${name}: a stream gets what the pods' limits allow, whoever sends, and all again without`, {
    skip,
  }, async (t) => {
    const cluster = await scene(t, open);
    const [a, b, c] = ['a', 'b', 'c'].map(cluster.pod) as [LabPod, LabPod, LabPod];
    await setBandwidth(cluster, 'b', { ingress: 20 * MEGABIT, egress: 50 * MEGABIT });
    await getsLimit(t, a, b, 20 * MEGABIT);
    await getsLimit(t, c, b, 20 * MEGABIT, 1);
    await getsLimit(t, b, a, 50 * MEGABIT, 1);
    await getsLimit(t, b, c, 50 * MEGABIT);
    await setBandwidth(cluster, 'b', { ingress: 200 * MEGABIT });
    await getsLimit(t, a, b, 200 * MEGABIT);
    await setBandwidth(cluster, 'b', { ingress: MEGABIT });
    await setBandwidth(cluster, 'b', undefined);
    const bytes = 24 * MEGABIT;
    assert.ok((await secondsFor(bytes, a, b, 0)) < leastSeconds(bytes, MEGABIT), 'the limit is still there');
  });

  test(`${name}: datagrams over the limit wait, and what would wait too long is lost`, {
    skip,
  }, async (t) => {
    const cluster = await scene(t, open);
    const [a, b, c] = ['a', 'b', 'c'].map(cluster.pod) as [LabPod, LabPod, LabPod];
    await setBandwidth(cluster, 'b', { ingress: MEGABIT });
    const [size, frame] = [1020, 1062];
    const { burst, queue } = shapeOf(MEGABIT);
    const sink = openSink(t, b.ns, b.addresses[0], PORT);
    for (const from of [c, a]) {
      const began = performance.now();
      // Far more, and far faster, than what passes at once and waits.
      for (let sent = 0; sent < 8 * (burst + queue); sent += 50 * frame)
        sendBurst(from.ns, from.addresses[0], b.addresses[0], PORT, 50, size);
      let bytes = 0;
      await settled(
        () => (bytes += sink.count() * frame) >= queue / 2,
        () => `what waited of ${from.name}: ${bytes} bytes came`,
        60_000,
      );
      const seconds = (performance.now() - began) / 1000;
      assert.ok(bytes <= burst + (seconds * MEGABIT) / 8 + frame, `${bytes} bytes from ${from.name}`);
    }
  });
}

test('eBPF: whatever goes by the queue of a link was judged, and passes or does not, on every way', {
  skip: needsRoot,
}, async (t) => {
  const cluster = await scene(t, openEbpf);
  const [a, b, c] = ['a', 'b', 'c'].map(cluster.pod) as [LabPod, LabPod, LabPod];
  serveTcp(t, b.ns, PORT, 'b');
  serveUdp(t, b.ns, b.addresses, PORT, 'b');
  const arrived: number[] = [];
  witness(t, b.ns, ({ protocol }) => void arrived.push(protocol));
  await setBandwidth(cluster, 'b', { ingress: 100 * MEGABIT });
  cluster.setService('b', 1, [{ port: 80, target: PORT }], [b]);
  await cluster.apply();
  for (const from of [a, c])
    for (const family of [0, 1] as const) {
      const [to, src] = [b.addresses[family], from.addresses[family]];
      assert.equal((await dialTcp(from.ns, to, PORT)).server, 'b');
      assert.equal((await dialUdp(from.ns, to, PORT)).server, 'b');
      assert.equal((await dialTcp(from.ns, serviceAddresses(1)[family], 80)).server, 'b');
      const protocol = family === 0 ? ICMP[4] : ICMP[6];
      const before = arrived.filter((one) => one === protocol).length;
      const echo = { family: family === 0 ? 4 : 6, src, dst: to, protocol, sport: 7, dport: 0 } as const;
      sendPacket(from.ns, echo, AbortSignal.timeout(60_000));
      await settled(
        () => arrived.filter((one) => one === protocol).length > before,
        () => `an echo request from ${from.name}`,
      );
    }
  await cluster.setPolicies({
    b: {
      podSelector: { matchLabels: { app: 'b' } },
      ingress: [{ from: [{ podSelector: { matchLabels: { app: 'c' } } }] }],
    },
  });
  for (const family of [0, 1] as const) {
    const to = b.addresses[family];
    assert.deepEqual(await dialTcp(a.ns, to, PORT), { why: 'ETIMEDOUT' });
    assert.deepEqual(await dialUdp(a.ns, to, PORT), { why: 'ETIMEDOUT' });
    assert.equal((await dialTcp(c.ns, to, PORT)).server, 'b');
  }
});
