import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { Netns } from '../../../kernel/netns.ts';
import { openRoute } from '../../../kernel/route.ts';
import { connectTcp, listenTcp } from '../../../kernel/sockets.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import type { PacketFlow } from '../../packet.ts';
import { frontendKey } from '../../plan/tables.ts';
import { type Cluster, createCluster } from '../../testing/cluster.ts';
import { openEbpfAtTc, type OpenedEbpf } from '../../testing/ebpf.ts';
import { frontendsOn } from '../../testing/frontends.ts';
import { OUTSIDE } from '../../testing/lab.ts';
import { ICMP, sendPacket, settled, witness } from '../../testing/packets.ts';
import { both, FAMILIES, NODE_PORT, PODS, serveAll, wish } from '../../testing/service-lab.ts';
import { connectedError, dialTcp, dialUdp, keepTcp } from '../../testing/traffic.ts';
import { translatedFlows } from './translated.ts';

const it = (what: string, fn: (t: TestContext, cluster: Cluster<OpenedEbpf>) => Promise<void>): void =>
  void test(what, { skip: needsRoot }, async (t) => {
    const cluster = await createCluster(t, openEbpfAtTc, PODS);
    serveAll(t, cluster);
    await fn(t, cluster);
    for (const backend of cluster.backends) assert.deepEqual(await backend.verify(), []);
  });

/** Echoes, and notes from which port each client came. */
function listen(t: TestContext, ns: Netns, port: number): { ports: number[] } {
  const ports: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    ports.push(socket.remotePort ?? 0);
    sockets.add(socket);
    socket.on('error', () => {});
    socket.write('hello\n');
    socket.pipe(socket);
  });
  server.listen({ fd: listenTcp(ns, '::', port) });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { ports };
}

async function keepFrom(t: TestContext, ns: Netns, host: string, port: number, localPort: number) {
  const localAddress = host.includes(':') ? '::' : '0.0.0.0';
  const socket = await connectTcp(ns, { host, port, localAddress, localPort, timeoutMs: 60_000 });
  assert.equal(socket.localPort, localPort);
  socket.on('error', () => {});
  t.after(() => void socket.destroy());
  await new Promise((resolve) => socket.once('data', resolve));
  return (): Promise<boolean> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), 60_000);
      socket.once('data', () => {
        clearTimeout(timer);
        resolve(true);
      });
      socket.write('ping\n');
    });
}

it('pods that use one source port are told apart outside, each gets its own answers', async (t, {
  lab,
  pod,
}) => {
  const { ports } = listen(t, lab.outside, 9000);
  for (const family of FAMILIES) {
    ports.length = 0;
    const echoes = [];
    for (const name of ['a', 'b'])
      echoes.push(await keepFrom(t, pod(name).ns, OUTSIDE[family], 9000, 40_000));
    assert.equal(new Set(ports).size, 2);
    for (const echo of echoes) assert.ok(await echo());
  }
});

it('echoes of two pods with one identifier reach the outside as their node’s, and come back', async (t, c) => {
  const seen: PacketFlow[] = [];
  witness(t, c.lab.outside, (flow) => void seen.push(flow));
  const stop = AbortSignal.timeout(60_000);
  for (const family of FAMILIES) {
    seen.length = 0;
    const wire = family === 0 ? 4 : 6;
    for (const name of ['a', 'b'])
      sendPacket(
        c.pod(name).ns,
        {
          family: wire,
          protocol: ICMP[wire],
          src: c.pod(name).addresses[family],
          dst: OUTSIDE[family],
          sport: 77,
          dport: 0,
        },
        stop,
      );
    const own = c.lab.nodes[0]!.remote.addresses[family];
    const echoes = () => seen.filter(({ protocol, src }) => protocol === ICMP[wire] && src === own);
    await settled(
      () => echoes().length >= 2,
      () => JSON.stringify(seen),
    );
    const { programs } = c.backends[0]!;
    const value = programs.codec<{ flags: number; dst: Uint8Array; dport: number }>('struct nat_value');
    const key = programs.codec<{ protocol: number }>('struct nat_key');
    const answers = () =>
      [...programs.map(family === 0 ? 'nat4' : 'nat6').entries()]
        .filter(([bytes]) => key.decode(bytes).protocol === ICMP[wire])
        .map(([, bytes]) => value.decode(bytes))
        // Of the answering side, and an answer was seen.
        .filter(({ flags }) => (flags & 1) !== 0 && (flags & 16) !== 0);
    await settled(
      () => answers().length === 2,
      () => JSON.stringify(answers()),
    );
    // Back to the identifier that both pods chose.
    assert.deepEqual(
      answers().map(({ dport }) => dport),
      [77 << 8, 77 << 8],
    );
  }
});

it('a pod is told of what does not listen outside, through masquerade', async (t, { pod }) => {
  for (const family of FAMILIES)
    assert.equal(await connectedError(t, pod('a').ns, OUTSIDE[family], 9), 'ECONNREFUSED');
});

it('what does not fit the tunnel is told to clients outside, who send less', async (t, c) => {
  await c.setFrontends(both(wish('NodePort', [c.pod('c')])));
  for (const family of FAMILIES) {
    const to = c.lab.nodes[0]!.remote.addresses[family] ?? '';
    const kept = await keepTcp(t, c.lab.outside, to, NODE_PORT);
    let received = 0;
    kept.socket.on('data', (data: Buffer) => (received += data.length));
    kept.socket.write(Buffer.alloc(300_000));
    await settled(
      () => received >= 300_000,
      () => `${received} of 300000 bytes`,
    );
    const big = await dialUdp(c.lab.outside, to, NODE_PORT, { size: 1440, timeoutMs: 1000 });
    assert.equal(big.server, 'c', `a datagram of 1440 bytes, ${to}: ${big.why}`);
  }
});

it('datagrams in fragments reach backends of this node and of others through a node port', async (_t, c) => {
  for (const name of ['b', 'c']) {
    await c.setFrontends([wish('NodePort', [c.pod(name)], { protocol: 'UDP' })]);
    for (const family of FAMILIES) {
      const to = c.lab.nodes[0]!.remote.addresses[family] ?? '';
      const answer = await dialUdp(c.lab.outside, to, NODE_PORT, { size: 5000, timeoutMs: 1000 });
      assert.equal(answer.server, name, `${name} ${to} ${answer.why}`);
    }
  }
});

it('a restart of the agent cuts no connection that is translated', async (t, c) => {
  await c.setFrontends(both(wish('NodePort', [c.pod('c')])));
  listen(t, c.lab.outside, 9000);
  const node = c.lab.nodes[0]!;
  const echoes = [];
  for (const family of FAMILIES) {
    echoes.push((await keepTcp(t, c.lab.outside, node.remote.addresses[family] ?? '', NODE_PORT)).echo);
    echoes.push(await keepFrom(t, c.pod('a').ns, OUTSIDE[family], 9000, 41_000));
  }
  const state = frontendsState(c);
  c.backends[0]!.close();
  for (const echo of echoes) assert.ok(await echo(), 'without an agent');
  const next = openEbpfAtTc(t, node);
  assert.deepEqual(await next.prune(state), []);
  c.backends[0] = next;
  for (const echo of echoes) assert.ok(await echo(), 'with the next agent');
});

/** What the plan says, and the frontends that went past it. */
function frontendsState({ plans, lab, pod }: Cluster<OpenedEbpf>) {
  const frontends = frontendsOn(lab.nodes[0]!, both(wish('NodePort', [pod('c')])));
  return { ...plans[0]!.state, services: new Map(frontends.map((each) => [frontendKey(each), each])) };
}

it('who is outside and says to be a pod or another node is not heard', async (t, c) => {
  await c.setFrontends(both(wish('NodePort', [c.pod('a')])));
  const heard: PacketFlow[] = [];
  for (const { ns } of c.lab.pods) witness(t, ns, (flow) => void heard.push(flow));
  const route = openRoute(c.lab.outside);
  t.after(() => route.close());
  const stop = AbortSignal.timeout(60_000);
  const node = c.lab.nodes[0]!;
  const before = c.backends[0]!.drops?.().get('spoofed')?.packets ?? 0;
  for (const family of FAMILIES) {
    const forged = [
      c.pod('b').addresses[family],
      c.pod('c').addresses[family],
      c.lab.nodes[1]!.remote.addresses[family] ?? '',
    ];
    for (const src of forged) {
      route.replaceAddress('lo', `${src}/${family === 0 ? 32 : 128}`, { nodad: true });
      const flow: PacketFlow = {
        family: family === 0 ? 4 : 6,
        protocol: 17,
        src,
        dst: node.remote.addresses[family] ?? '',
        sport: 5000,
        dport: NODE_PORT,
      };
      sendPacket(c.lab.outside, flow, stop);
    }
  }
  const dropped = () => (c.backends[0]!.drops?.().get('spoofed')?.packets ?? 0) - before;
  await settled(
    () => dropped() >= 6,
    () => `${dropped()} of 6 dropped`,
  );
  assert.deepEqual(heard, []);
});

it('connections to a backend that is gone go on, and new ones go to the next', async (t, c) => {
  const to = c.lab.nodes[0]!.remote.addresses;
  for (const first of ['b', 'c']) {
    await c.setFrontends([wish('NodePort', [c.pod(first)])]);
    const kept = await Promise.all(
      FAMILIES.map((family) => keepTcp(t, c.lab.outside, to[family] ?? '', NODE_PORT)),
    );
    await c.setFrontends([wish('NodePort', [c.pod('d')])]);
    for (const family of FAMILIES) {
      assert.ok(await kept[family]!.echo());
      assert.equal((await dialTcp(c.lab.outside, to[family] ?? '', NODE_PORT)).server, 'd');
    }
  }
});

it('a port that the node itself uses is given to no pod', async (t, c) => {
  listen(t, c.lab.outside, 9000);
  const node = c.lab.nodes[0]!;
  const { programs } = c.backends[0]!;
  const settings = programs.map('edge_settings');
  const codec = programs.codec<Record<string, number>>('struct edge_settings');
  const zero = new Uint8Array(4);
  const usual = settings.lookup(zero)!;
  // Four ports, of which the node has three.
  settings.update(zero, codec.encode({ ...codec.decode(usual), first_port: 50_000, ports: 4 }));
  for (const family of FAMILIES) {
    const own = [];
    for (const port of [50_000, 50_001, 50_002])
      own.push(await keepFrom(t, node.ns, OUTSIDE[family], 9000, port));
    const pod = await keepFrom(t, c.pod('a').ns, OUTSIDE[family], 9000, 42_000);
    assert.deepEqual(
      await dialTcp(c.pod('b').ns, OUTSIDE[family], 9000),
      { why: 'ETIMEDOUT' },
      'none is left',
    );
    for (const echo of [...own, pod]) assert.ok(await echo());
  }
  settings.update(zero, usual);
  assert.ok((c.backends[0]!.drops?.().get('no-port')?.packets ?? 0) > 0);
});

it('connections that are translated are listed, those of sockets with hooks are not', async (t, c) => {
  await c.setFrontends([wish('ClusterIP', [c.pod('c')])]);
  const kept = await keepTcp(t, c.pod('a').ns, '10.96.0.1', 80);
  const { programs } = c.backends[0]!;
  const list = [
    ...translatedFlows(
      {
        map: programs.map('nat4'),
        key: programs.codec('struct nat_key'),
        value: programs.codec('struct nat_value'),
      },
      process.hrtime.bigint(),
    ),
  ];
  assert.deepEqual(list, [
    {
      protocol: 6,
      client: c.pod('a').addresses[0],
      clientPort: kept.socket.localPort,
      address: '10.96.0.1',
      port: 80,
      backend: c.pod('c').addresses[0],
      backendPort: 8080,
    },
  ]);
});
