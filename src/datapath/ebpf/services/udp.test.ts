import assert from 'node:assert/strict';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import type { Netns } from '../../../kernel/netns.ts';
import { bindUdp } from '../../../kernel/sockets.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { errnoCode } from '../../../lib/errors.ts';
import { settled } from '../../testing/packets.ts';
import { dialUdp, serveUdp } from '../../testing/traffic.ts';
import { connectedSockets } from './connected.ts';
import { backendsOf, createRig, frontend, type Rig } from './testing/rig.ts';

const PORT = 7000;
const V4 = '10.96.0.1';
const V6 = 'fd00:10:96::1';
const udp = { protocol: 'UDP', port: 80 } as const;

function servers(t: TestContext, rig: Rig): void {
  for (const pod of rig.pods) serveUdp(t, pod.ns, pod.addresses, PORT, pod.name);
}

function socketIn(t: TestContext, ns: Netns, family: 4 | 6 = 4): Socket {
  const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
  socket.bind({ fd: bindUdp(ns, family === 4 ? '0.0.0.0' : '::', 0) });
  t.after(() => void socket.close());
  return socket;
}

/** Who answered, and from where as the client sees it. */
async function ask(socket: Socket, port?: number, host?: string): Promise<{ server: string; from: string }> {
  const answered = once(socket, 'message', { signal: AbortSignal.timeout(60_000) }) as Promise<
    [Buffer, RemoteInfo]
  >;
  if (port === undefined) socket.send('x');
  else socket.send('x', port, host);
  const [data, from] = await answered;
  return { server: data.toString().split(' ')[0] ?? '', from: `${from.address} ${from.port}` };
}

async function connectSocket(socket: Socket, port: number, host: string): Promise<void> {
  socket.connect(port, host);
  await once(socket, 'connect');
}

const everybody = ['pod-0', 'pod-1', 'pod-2'];

test('datagrams of unconnected sockets reach every backend, and answers come from the service', {
  skip: needsRoot,
}, async (t) => {
  const rig = createRig(t);
  servers(t, rig);
  rig.serve(frontend(V4, backendsOf(rig.pods, PORT), udp), frontend(V6, backendsOf(rig.pods, PORT, 6), udp));
  for (const ns of [rig.node.ns, rig.pods[0]?.ns ?? rig.node.ns])
    for (const [family, host] of [
      [4, V4],
      [6, V6],
      [6, `::ffff:${V4}`],
    ] as const) {
      const seen = new Set<string>();
      for (let i = 0; i < 40; i++) {
        const { server, from } = await ask(socketIn(t, ns, family), 80, host);
        assert.equal(from, `${host} 80`);
        seen.add(server);
      }
      assert.deepEqual([...seen].toSorted(), everybody, host);
    }
});

test('an unconnected socket stays at its backend, and goes to another when that is removed', {
  skip: needsRoot,
}, async (t) => {
  const rig = createRig(t);
  servers(t, rig);
  const backends = backendsOf(rig.pods, PORT);
  rig.serve(frontend(V4, backends, udp));
  const socket = socketIn(t, rig.node.ns);
  const { server } = await ask(socket, 80, V4);
  for (let i = 0; i < 20; i++) assert.equal((await ask(socket, 80, V4)).server, server);
  const index = everybody.indexOf(server);
  const draining = backends.map((backend, i) => (i === index ? { ...backend, weight: 0 } : backend));
  rig.serve(frontend(V4, draining, udp));
  assert.equal((await ask(socket, 80, V4)).server, server, 'it drains: what is there goes on');
  rig.serve(
    frontend(
      V4,
      backends.filter((_, i) => i !== index),
      udp,
    ),
  );
  const { server: next, from } = await ask(socket, 80, V4);
  assert.notEqual(next, server);
  assert.equal(from, `${V4} 80`);
});

test('one socket talks to several services', { skip: needsRoot }, async (t) => {
  const rig = createRig(t, { pods: 2 });
  servers(t, rig);
  const [first, second] = backendsOf(rig.pods, PORT);
  assert.ok(first && second);
  rig.serve(frontend(V4, [first], udp), frontend('10.96.0.2', [second], udp));
  const socket = socketIn(t, rig.node.ns);
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(await ask(socket, 80, V4), { server: 'pod-0', from: `${V4} 80` });
    assert.deepEqual(await ask(socket, 80, '10.96.0.2'), { server: 'pod-1', from: '10.96.0.2 80' });
  }
});

/** As if every slot were that of a socket which is open for long. */
function takeSlots({ programs }: Rig, socket = 1n): void {
  const map = programs.map('socket_slots');
  const value = programs.codec<{ socket: bigint }>('struct socket_slot').encode({ socket });
  for (let i = 0; i < map.maxEntries; i++) map.update(new Uint8Array(Uint32Array.of(i).buffer), value);
}

for (const slots of ['free', 'taken'] as const) {
  test(`a connected socket sees the service as its peer, in every family, where its slot is ${slots}`, {
    skip: needsRoot,
  }, async (t) => {
    const rig = createRig(t);
    if (slots === 'taken') takeSlots(rig);
    servers(t, rig);
    rig.serve(
      frontend(V4, backendsOf(rig.pods, PORT), udp),
      frontend(V6, backendsOf(rig.pods, PORT, 6), udp),
    );
    for (const [family, host] of [
      [4, V4],
      [6, V6],
      [6, `::ffff:${V4}`],
    ] as const) {
      const socket = socketIn(t, rig.node.ns, family);
      await connectSocket(socket, 80, host);
      const { address, port } = socket.remoteAddress();
      assert.deepEqual({ address, port }, { address: host, port: 80 });
      assert.equal((await ask(socket)).from, `${host} 80`);
    }
  });

  test(`connected sockets of a removed backend are cut, all others go on, where slots are ${slots}`, {
    skip: needsRoot,
  }, async (t) => {
    const rig = createRig(t);
    if (slots === 'taken') takeSlots(rig);
    servers(t, rig);
    const backends = backendsOf(rig.pods, PORT);
    rig.serve(frontend(V4, backends, udp));
    const clients: { socket: Socket; server: string }[] = [];
    const pod = rig.pods[1];
    assert.ok(pod);
    for (let i = 0; i < 20 || !clients.some(({ server }) => server === 'pod-0'); i++) {
      const socket = socketIn(t, i % 2 ? rig.node.ns : pod.ns, i % 4 < 2 ? 4 : 6);
      await connectSocket(socket, 80, i % 4 < 2 ? V4 : `::ffff:${V4}`);
      clients.push({ socket, server: (await ask(socket)).server });
    }
    const direct = socketIn(t, rig.node.ns);
    await connectSocket(direct, PORT, backends[0]?.address ?? '');

    const failures = clients.map(({ socket }) => {
      const seen: string[] = [];
      socket.on('error', (error) => seen.push(errnoCode(error) ?? ''));
      return seen;
    });
    rig.serve(frontend(V4, backends.slice(1), udp));
    await rig.part.settled();
    assert.equal((await ask(direct)).server, 'pod-0', 'who talks to the pod itself is not cut');
    for (const [i, { socket, server }] of clients.entries()) {
      if (server !== 'pod-0') {
        assert.equal((await ask(socket)).server, server);
        continue;
      }
      // Whoever comes first is told: this datagram, or whoever waits for an answer.
      socket.send('x', (error) => error && failures[i]?.push(errnoCode(error) ?? ''));
      await settled(
        () => failures[i]!.length > 0,
        () => 'the owner is told',
      );
    }
  });
}

test('a socket that closes leaves neither its slot nor an entry taken', { skip: needsRoot }, async (t) => {
  for (const slots of ['free', 'taken'] as const) {
    const rig = createRig(t);
    servers(t, rig);
    if (slots === 'taken') takeSlots(rig);
    rig.serve(frontend(V4, backendsOf(rig.pods, PORT), udp));
    const connected = () => [...connectedSockets(rig.programs)].length;
    const socket = createSocket('udp4');
    socket.bind({ fd: bindUdp(rig.node.ns, '0.0.0.0', 0) });
    await connectSocket(socket, 80, V4);
    assert.equal(connected(), 1);
    socket.close();
    await once(socket, 'close');
    assert.equal(connected(), 0, slots);
  }
});

test('a socket that connects again is noted once, and goes on without the backend it left', {
  skip: needsRoot,
}, async (t) => {
  const rig = createRig(t, { pods: 2 });
  servers(t, rig);
  takeSlots(rig);
  const [left, next] = backendsOf(rig.pods, PORT);
  assert.ok(left && next);
  const second = frontend('10.96.0.2', [next], udp);
  rig.serve(frontend(V4, [left], udp), second);
  const connected = () => [...connectedSockets(rig.programs)].filter(({ socket }) => socket !== 1n).length;
  const socket = socketIn(t, rig.node.ns);
  await connectSocket(socket, 80, V4);
  takeSlots(rig, 0n);
  socket.disconnect();
  await connectSocket(socket, 80, '10.96.0.2');
  assert.equal(connected(), 1);
  rig.serve(frontend(V4, [], udp), second);
  await rig.part.settled();
  assert.equal((await ask(socket)).server, 'pod-1');
  socket.disconnect();
  await connectSocket(socket, PORT, next.address);
  assert.equal(connected(), 0);
});

test('datagrams to what nobody serves are refused, connecting to it is not', {
  skip: needsRoot,
}, async (t) => {
  const rig = createRig(t, { pods: 1 });
  rig.serve(frontend(V4, [], udp));
  assert.equal((await dialUdp(rig.node.ns, V4, 80)).why, 'ECONNREFUSED');
  assert.equal((await dialUdp(rig.node.ns, V4, 81)).why, 'ECONNREFUSED');
  assert.equal((await dialUdp(rig.node.ns, 'fd00:10:96::7', 81)).why, 'ECONNREFUSED');
  await connectSocket(socketIn(t, rig.node.ns), 81, V4);
  assert.equal(
    (await dialUdp(rig.node.ns, '10.96.0.10', 53)).why,
    'ETIMEDOUT',
    'the node answers there itself',
  );
});
