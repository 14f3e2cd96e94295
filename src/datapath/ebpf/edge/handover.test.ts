import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectTcp, listenTcp } from '../../../kernel/sockets.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import type { NatConnection } from '../../backend.ts';
import { createCluster } from '../../testing/cluster.ts';
import { openEbpfAtTc } from '../../testing/ebpf.ts';
import { OUTSIDE } from '../../testing/lab.ts';
import { PODS, wish } from '../../testing/service-lab.ts';

const TABLES = ['flows4', 'crowd4', 'nat4'] as const;
/** Of bpf/include/handover.h. */
const [NOBODY, HOLD] = [0, 3];

test('an answer of a connection that other programs know is held back until these know it', {
  skip: needsRoot,
  timeout: 30_000,
}, async (t) => {
  const cluster = await createCluster(t, openEbpfAtTc, PODS);
  const { pod, backends } = cluster;
  const server = createServer();
  server.listen({ fd: listenTcp(pod('b').ns, '::', 9000) });
  t.after(() => void server.close());
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  await cluster.setFrontends([wish('ClusterIP', [pod('b')], { target: 9000 })]);
  const client = await connectTcp(pod('a').ns, { host: '10.96.0.1', port: 80 });
  const [answering] = await accepted;
  t.after(() => [client, answering].forEach((socket) => socket.destroy()));
  const broken = once(answering, 'error').then(() => 'the client knows of no such connection');
  const answer = once(client, 'data').then(String);
  const { programs, drops } = backends[0]!;
  const handover = programs.control('handover');
  const known = TABLES.map((name) => [...programs.map(name).entries()]);
  handover.set('mode', HOLD);
  for (const [i, name] of TABLES.entries()) for (const [key] of known[i]!) programs.map(name).delete(key);
  answering.write('now');
  const held = async () => {
    while ((drops?.().get('handover')?.packets ?? 0) === 0) await sleep(10);
  };
  await Promise.race([held(), broken]);
  for (const [i, name] of TABLES.entries())
    for (const [key, value] of known[i]!) programs.map(name).update(key, value);
  handover.set('mode', NOBODY);
  assert.equal(await Promise.race([answer, broken]), 'now');
});

test('what the tables are given, they give to the next, whoever the client is', {
  skip: needsRoot,
}, async (t) => {
  const { lab, pod, plans, backends } = await createCluster(t, openEbpfAtTc, PODS);
  const node = lab.nodes[0]!;
  const ends = (src: string, srcPort: number, dst: string, dstPort: number) => ({
    protocol: 6,
    src,
    srcPort,
    dst,
    dstPort,
  });
  for (const family of [0, 1] as const) {
    const [own = '', other = ''] = [node, lab.nodes[1]!].map(({ remote }) => remote.addresses[family]);
    const [service, outside] = [family === 0 ? '10.96.0.1' : 'fd00:10:96::1', OUTSIDE[family]];
    const [a, b, c] = ['a', 'b', 'c'].map((name) => pod(name).addresses[family]) as [string, string, string];
    const given: NatConnection[] = [
      // A pod through a service, to another and to itself.
      { original: ends(a, 1, service, 80), reply: ends(b, 8080, a, 1), answered: true },
      { original: ends(a, 2, service, 80), reply: ends(a, 8080, own, 60_000), answered: true },
      // To the outside, straight and by a service.
      { original: ends(a, 3, outside, 443), reply: ends(outside, 443, own, 60_001), answered: false },
      { original: ends(a, 4, service, 443), reply: ends(outside, 8443, own, 60_002), answered: true },
      // The node, a client outside, and one whose backend is elsewhere.
      { original: ends(own, 5, service, 80), reply: ends(b, 8080, own, 5), answered: true },
      { original: ends(outside, 6, own, 30_080), reply: ends(b, 8080, outside, 6), answered: true },
      { original: ends(outside, 7, own, 30_080), reply: ends(c, 8080, own, 60_003), answered: true },
      { original: ends(other, 8, own, 30_080), reply: ends(b, 8080, other, 8), answered: true },
      // By one port straight to a server outside and through its service, in either order.
      { original: ends(a, 9, service, 443), reply: ends(outside, 8443, own, 60_004), answered: true },
      { original: ends(a, 9, outside, 8443), reply: ends(outside, 8443, own, 60_005), answered: true },
      { original: ends(a, 10, service, 443), reply: ends(outside, 8443, own, 60_006), answered: true },
      { original: ends(a, 10, outside, 8443), reply: ends(outside, 8443, own, 60_007), answered: true },
    ];
    const sorted = (list: readonly NatConnection[]) =>
      list
        .filter(({ original }) => original.src.includes(':') === (family === 1))
        .toSorted(
          (x, y) => x.original.srcPort - y.original.srcPort || x.original.dstPort - y.original.dstPort,
        );
    const [straight] = given.slice(-1);
    // The second time nothing is made of what is there.
    for (const some of [[straight!], given, given]) await backends[0]!.takeOver?.(some, plans[0]!.state);
    assert.deepEqual(sorted((await backends[0]!.handOver?.(plans[0]!.state)) ?? []), given);
  }
});
