/** One source port, straight to a backend and through a service that tc translates to the same backend. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Netns } from '../../../kernel/netns.ts';
import { openRoute } from '../../../kernel/route.ts';
import { bindUdp, connectTcp } from '../../../kernel/sockets.ts';
import { needsRoot } from '../../../kernel/test-netns.ts';
import { type Cluster, createCluster, serviceAddresses } from '../../testing/cluster.ts';
import { openEbpfAtTc, type OpenedEbpf } from '../../testing/ebpf.ts';
import { TARGETS } from '../../testing/frontends.ts';
import { type LabPod, OUTSIDE } from '../../testing/lab.ts';
import { both, FAMILIES, NODE_PORT, PODS, PROTOCOLS, serveAll, wish } from '../../testing/service-lab.ts';
import { serveTcp } from '../../testing/traffic.ts';

interface End {
  readonly host: string;
  readonly port: number;
}

/** Asks once, and again; false where an answer is missing or comes from anybody else. */
type Ask = () => Promise<boolean>;
/** A client's one port: opens what it is told to, one after another. */
type Client = (end: End) => Promise<Ask>;

const WAIT_MS = 60_000;

const tcpClient =
  (t: TestContext, ns: Netns, localPort: number): Client =>
  async ({ host, port }) => {
    const localAddress = host.includes(':') ? '::' : '0.0.0.0';
    const socket = await connectTcp(ns, { host, port, localAddress, localPort, timeoutMs: WAIT_MS });
    socket.on('error', () => {});
    t.after(() => void socket.destroy());
    const next = () =>
      once(socket, 'data', { signal: AbortSignal.timeout(WAIT_MS) }).then(
        () => true,
        () => false,
      );
    assert.equal(await next(), true, `${host} greets`);
    return () => {
      const answer = next();
      socket.write('ping\n');
      return answer;
    };
  };

function udpClient(t: TestContext, ns: Netns, localPort: number): Client {
  return async ({ host, port }) => {
    const isV6 = host.includes(':');
    const socket = sockets.get(isV6) ?? createSocket(isV6 ? 'udp6' : 'udp4');
    if (!sockets.has(isV6)) {
      sockets.set(isV6, socket);
      t.after(() => void socket.close());
      const fd = bindUdp(ns, isV6 ? '::' : '0.0.0.0', localPort);
      await new Promise<void>((resolve) => socket.bind({ fd }, resolve));
    }
    const ask: Ask = () =>
      new Promise((resolve) => {
        const finish = (fine: boolean) => {
          clearTimeout(timer);
          resolve(fine);
        };
        const timer = setTimeout(finish, WAIT_MS, false);
        socket.once('message', (_, from) => finish(from.address === host && from.port === port));
        socket.send('?', port, host);
      });
    assert.equal(await ask(), true, `${host} answers`);
    return ask;
  };
}

const sockets = new Map<boolean, ReturnType<typeof createSocket>>();
const clients = { TCP: tcpClient, UDP: udpClient } as const;

interface Case {
  readonly cluster: Cluster<OpenedEbpf>;
  readonly ns: Netns;
  readonly server: LabPod;
  /** By family. */
  readonly service: (family: 0 | 1) => string;
  readonly port: number;
}

async function bothWays(t: TestContext, { ns, server, service, port }: Case): Promise<void> {
  let localPort = 40_000;
  for (const family of FAMILIES)
    for (const protocol of PROTOCOLS) {
      const direct = { host: server.addresses[family], port: TARGETS[protocol] };
      const through = { host: service(family), port };
      for (const [first, second] of [
        [direct, through],
        [through, direct],
      ] as const) {
        sockets.clear();
        const open = clients[protocol](t, ns, ++localPort);
        const asks = [await open(first), await open(second)];
        const answered: boolean[] = [];
        for (let i = 0; i < 4; i++) answered.push(await asks[i % 2]!());
        assert.deepEqual(answered, [true, true, true, true], `${protocol} ${first.host} then ${second.host}`);
      }
    }
}

const it = (what: string, fn: (t: TestContext, cluster: Cluster<OpenedEbpf>) => Promise<void>): void =>
  void test(what, { skip: needsRoot }, async (t) => {
    const cluster = await createCluster(t, openEbpfAtTc, PODS);
    serveAll(t, cluster);
    await fn(t, cluster);
  });

for (const [name, where] of [
  ['b', 'of its node'],
  ['c', 'of another node'],
] as const) {
  const service = (family: 0 | 1) => serviceAddresses(1)[family];

  it(`a pod uses one port straight to a pod ${where} and through its service`, async (t, cluster) => {
    const server = cluster.pod(name);
    await cluster.setFrontends(both(wish('ClusterIP', [server])));
    await bothWays(t, { cluster, ns: cluster.pod('a').ns, server, service, port: 80 });
  });

  it(`a node uses one port straight to a pod ${where} and through its service`, async (t, cluster) => {
    const server = cluster.pod(name);
    await cluster.setFrontends(both(wish('ClusterIP', [server])));
    await bothWays(t, { cluster, ns: cluster.lab.nodes[0]!.ns, server, service, port: 80 });
  });
}

it('a client on the underlay uses one port straight to a pod and through a node port', async (t, cluster) => {
  const { lab } = cluster;
  const { settings, remote } = lab.nodes[0]!;
  const server = cluster.pod('b');
  await cluster.setFrontends(both(wish('NodePort', [server])));
  const route = openRoute(lab.outside);
  t.after(() => route.close());
  for (const family of FAMILIES)
    route.replaceRoute({
      dst: settings.nodePodCidrs[family] ?? '',
      via: remote.addresses[family] ?? '',
      dev: 'eth0',
    });
  const service = (family: 0 | 1) => settings.nodeAddresses[family] ?? '';
  await bothWays(t, { cluster, ns: lab.outside, server, service, port: NODE_PORT });
});

it('a pod of another node uses one port straight to a pod and through a node port', async (t, cluster) => {
  const server = cluster.pod('b');
  await cluster.setFrontends(both(wish('NodePort', [server])));
  const service = (family: 0 | 1) => cluster.lab.nodes[0]!.settings.nodeAddresses[family] ?? '';
  await bothWays(t, { cluster, ns: cluster.pod('c').ns, server, service, port: NODE_PORT });
});

const outsideOf = ({ lab, pod }: Cluster): LabPod => ({
  ...pod('b'),
  name: 'outside',
  node: '',
  ns: lab.outside,
  addresses: OUTSIDE,
});

/** Answers what comes, and notes from where that was. */
function noteDatagrams(t: TestContext, ns: Netns, address: string): Set<string> {
  const seen = new Set<string>();
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data, from) => {
    seen.add(`${from.address} ${from.port}`);
    socket.send(data, from.port, from.address);
  });
  socket.bind({ fd: bindUdp(ns, address, TARGETS.UDP) });
  t.after(() => void socket.close());
  return seen;
}

it('a pod uses one port straight to a server outside and through its service', async (t, cluster) => {
  const server = outsideOf(cluster);
  serveTcp(t, server.ns, TARGETS.TCP, 'outside');
  const seen = OUTSIDE.map((address) => noteDatagrams(t, server.ns, address));
  await cluster.setFrontends(both(wish('ClusterIP', [server])));
  const service = (family: 0 | 1) => serviceAddresses(1)[family];
  await bothWays(t, { cluster, ns: cluster.pod('a').ns, server, service, port: 80 });
  // In either order, each way by one port of the node for all that it carries.
  assert.deepEqual(
    seen.map(({ size }) => size),
    [4, 4],
  );
});

/** What a socket heard last, from whom; it answers `call` with `called`, and `ask` with `answer`. */
async function openPeer(t: TestContext, ns: Netns, address: string, port: number) {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const heard = new Map<string, string>();
  const answers = new Map([
    ['call', 'called'],
    ['ask', 'answer'],
  ]);
  socket.on('message', (data, from) => {
    heard.set(String(data), `${from.address} ${from.port}`);
    const answer = answers.get(String(data));
    if (answer !== undefined) socket.send(answer, from.port, from.address);
  });
  t.after(() => void socket.close());
  await new Promise<void>((resolve) => socket.bind({ fd: bindUdp(ns, address, port) }, resolve));
  return {
    /** From whom that was what came of it. */
    async says(text: string, { host, port: to }: End, answer: string): Promise<string | undefined> {
      heard.delete(answer);
      socket.send(text, to, host);
      for (const end = Date.now() + WAIT_MS; !heard.has(answer) && Date.now() < end; ) await sleep(5);
      return heard.get(answer);
    },
    from: (text: string) => heard.get(text),
  };
}

const OWN = 45_000;

it('a server outside calls, from the port at which a pod asks it through a service, the port by which the pod asks', async (t, cluster) => {
  const [server, a] = [outsideOf(cluster), cluster.pod('a')];
  await cluster.setFrontends([
    wish('ClusterIP', [server], { protocol: 'UDP' }),
    wish('NodePort', [a], { protocol: 'UDP', target: OWN }),
  ]);
  for (const family of FAMILIES) {
    const outside = await openPeer(t, server.ns, OUTSIDE[family], TARGETS.UDP);
    const inside = await openPeer(t, a.ns, a.addresses[family], OWN);
    const service = { host: serviceAddresses(1)[family], port: 80 };
    const node = { host: cluster.lab.nodes[0]!.settings.nodeAddresses[family] ?? '', port: NODE_PORT };
    for (let i = 0; i < 2; i++) {
      assert.equal(await inside.says('ask', service, 'answer'), `${service.host} 80`);
      assert.equal(await outside.says('call', node, 'called'), `${node.host} ${NODE_PORT}`);
      assert.match(inside.from('call') ?? '', new RegExp(`^${OUTSIDE[family]} `));
    }
  }
});

it('what answers with direct return does so by the service, though it asked the same client straight before', async (t, cluster) => {
  const [server, c] = [outsideOf(cluster), cluster.pod('c')];
  await cluster.setFrontends([wish('NodePort', [c], { protocol: 'UDP', target: OWN, forwarding: 'dsr' })]);
  for (const family of FAMILIES) {
    const outside = await openPeer(t, server.ns, OUTSIDE[family], TARGETS.UDP);
    const inside = await openPeer(t, c.ns, c.addresses[family], OWN);
    const straight = { host: OUTSIDE[family], port: TARGETS.UDP };
    const node = { host: cluster.lab.nodes[0]!.settings.nodeAddresses[family] ?? '', port: NODE_PORT };
    assert.equal(await inside.says('ask', straight, 'answer'), `${straight.host} ${straight.port}`);
    assert.equal(await outside.says('call', node, 'called'), `${node.host} ${NODE_PORT}`);
  }
});
