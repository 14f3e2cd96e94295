/** Much data in segments as large as the kernel makes them, and packets that do not fit the tunnel. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { test, type TestContext } from 'node:test';
import { setOption } from '../../kernel/netlink-socket.ts';
import type { Netns } from '../../kernel/netns.ts';
import { openRoute } from '../../kernel/route.ts';
import { bindUdp, connectTcp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import { errnoCode } from '../../lib/errors.ts';
import { serviceAddresses } from '../testing/cluster.ts';
import { OUTSIDE } from '../testing/lab.ts';
import { FAMILIES, NODE_PORT, wish } from '../testing/service-lab.ts';
import { tooBig } from '../testing/too-big.ts';
import { serveTcp } from '../testing/traffic.ts';
import { capture, oddCluster, PORT } from './core/testing/odd-lab.ts';

const options = { skip: needsRoot };

test('much data arrives as it was sent, wherever it goes', options, async (t) => {
  const { a, b, c, lab, setFrontends } = await oddCluster(t);
  serveTcp(t, lab.outside, 8080, 'outside');
  for (const each of [b, c]) serveTcp(t, each.ns, 8080, each.name);
  await setFrontends([wish('ClusterIP', [b, c])]);
  for (const family of FAMILIES)
    for (const [to, port] of [
      [b.addresses, 8080],
      [c.addresses, 8080],
      [serviceAddresses(1), 80],
      [OUTSIDE, 8080],
    ] as const)
      assert.ok(await echoes(a.ns, to[family], port, 2 << 20), to[family]);
});

/** Sends so many bytes, and compares what the other end says it got. */
async function echoes(ns: Netns, host: string, port: number, size: number): Promise<boolean> {
  const data = randomBytes(size);
  const socket = await connectTcp(ns, { host, port });
  const hash = createHash('sha256');
  let greeting = true;
  let got = 0;
  socket.write(data);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    // Its name and whom it saw come first, in one line.
    const end = greeting ? chunk.indexOf('\n') + 1 : 0;
    if (greeting && end > 0) greeting = false;
    hash.update(chunk.subarray(end));
    got += chunk.length - end;
    if (got >= size) break;
  }
  socket.destroy();
  return hash.digest('hex') === createHash('sha256').update(data).digest('hex');
}

/** IP(7), IPV6(7): the kernel refuses what does not fit, and never cuts it. */
const NEVER_CUT = [
  { level: 0, name: 10, value: 2 },
  { level: 41, name: 23, value: 2 },
] as const;

function sendWhole(
  t: TestContext,
  ns: Netns,
  family: 0 | 1,
  to: string,
  size: number,
): () => Promise<string> {
  const fd = bindUdp(ns, family === 0 ? '0.0.0.0' : '::', 0);
  const { level, name, value } = NEVER_CUT[family];
  setOption(fd, level, name, value);
  const socket = createSocket(family === 0 ? 'udp4' : 'udp6');
  socket.on('error', () => {});
  socket.bind({ fd });
  t.after(() => void socket.close());
  return () =>
    new Promise((resolve) =>
      socket.send(Buffer.alloc(size), PORT, to, (error) => resolve(errnoCode(error) ?? 'sent')),
    );
}

test('who sends what does not fit the tunnel is told, and goes on with less', options, async (t) => {
  const { a, b, c, lab, setFrontends } = await oddCluster(t);
  for (const each of [a, c]) {
    const route = openRoute(each.ns);
    route.setLink('eth0', { mtu: 1500 });
    route.close();
    // A link takes from its other end only what fits itself.
    lab.nodes.find(({ name }) => name === each.node)?.route.setLink(each.interface, { mtu: 1500 });
  }
  for (const each of [b, c]) serveTcp(t, each.ns, 8080, each.name);
  await setFrontends([wish('NodePort', [c])]);
  const frames = capture(t, a.ns);
  for (const family of FAMILIES) {
    const headers = family === 0 ? 28 : 48;
    const send = sendWhole(t, a.ns, family, c.addresses[family], 1470 - headers);
    const fits = sendWhole(t, a.ns, family, c.addresses[family], 1450 - headers);
    assert.equal(await send(), 'sent');
    let said = '';
    await settledSoon(async () => (said = await send()) !== 'sent');
    assert.equal(said, 'EMSGSIZE');
    const told = () =>
      frames.map((frame) => tooBig(frame)).find((each) => each?.family === (family === 0 ? 4 : 6));
    await settledSoon(() => Promise.resolve(told() !== undefined));
    assert.deepEqual([told()?.mtu, told()?.length], [1450, 1470]);
    assert.equal(await fits(), 'sent');
    assert.ok(await echoes(a.ns, c.addresses[family], 8080, 2 << 20), 'between pods');
    const node = lab.nodes[0]?.remote.addresses[family] ?? '';
    assert.ok(await echoes(lab.outside, node, NODE_PORT, 2 << 20), 'from outside to the pod of another node');
  }
});

/** Asks again until it is true: a node tells one sender once a second at most (icmp_ratelimit). */
async function settledSoon(ask: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1500 && !(await ask()); i++) await new Promise((resolve) => setTimeout(resolve, 2));
}
