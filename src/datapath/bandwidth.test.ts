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
/** Long enough that what may be sent at once is a small part. */
const SECONDS = 3;
/** A busy machine may leave too little time to send that much. */
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

/** Bits of payload per second that a stream gets from one pod to another. */
async function goodput(t: TestContext, from: LabPod, to: LabPod, family: 0 | 1 = 0): Promise<number> {
  let received = 0;
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => (received += data.length));
  });
  server.listen({ fd: listenTcp(to.ns, '::', PORT) });
  const client = await connectTcp(from.ns, { host: to.addresses[family], port: PORT });
  client.on('error', () => {});
  const block = Buffer.alloc(65_536);
  const pump = () => {
    while (!client.destroyed && client.write(block));
  };
  client.on('drain', pump);
  pump();
  const began = performance.now();
  await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
  const rate = (received * 8000) / (performance.now() - began);
  for (const socket of [client, ...sockets]) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  t.diagnostic(`${from.name} to ${to.name}: ${(rate / MEGABIT).toFixed(1)} Mb/s`);
  return rate;
}

/** A stream gets no more than the limit, and all of it once the machine leaves this process the time to send that much. */
async function getsLimit(t: TestContext, from: LabPod, to: LabPod, limit: number, family: 0 | 1 = 0) {
  const shares: string[] = [];
  for (let i = 0; i < TRIES; i++) {
    const share = (await goodput(t, from, to, family)) / (limit * PAYLOAD_SHARE);
    assert.ok(share < 1.1, `${(share * 100).toFixed(1)} % of the limit`);
    if (share > 0.9) return;
    shares.push(`${(share * 100).toFixed(1)} %`);
  }
  assert.fail(`of the limit came: ${shares.join(', ')}`);
}

/** A stream without a limit gets more than `rate`. */
async function getsMore(t: TestContext, from: LabPod, to: LabPod, rate: number) {
  const rates: number[] = [];
  while (rates.length < TRIES && !rates.some((each) => each > rate)) rates.push(await goodput(t, from, to));
  assert.ok(
    rates.some((each) => each > rate),
    rates.join(', '),
  );
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
    await setBandwidth(cluster, 'b', undefined);
    await getsMore(t, a, b, 300 * MEGABIT);
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
      let passed = 0;
      const elapsed = () => (performance.now() - began) / 1000;
      while (elapsed() < 4) {
        // Faster than the limit for a second, then only what is left in the queue.
        if (elapsed() < 1) sendBurst(from.ns, from.addresses[0], b.addresses[0], PORT, 50, size);
        await new Promise((resolve) => setTimeout(resolve, 5));
        passed += sink.count();
      }
      const bytes = passed * frame;
      assert.ok(bytes <= burst + (elapsed() * MEGABIT) / 8 + frame, `${passed} from ${from.name}`);
      assert.ok(bytes >= queue / 2, `${passed} from ${from.name}`);
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
