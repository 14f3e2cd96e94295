import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { connectTcp, listenTcp } from '../../kernel/sockets.ts';
import { needsRoot } from '../../kernel/test-netns.ts';
import type { TrackedFlow } from '../backend.ts';
import { createCluster } from '../testing/cluster.ts';
import { openEbpf } from '../testing/ebpf.ts';
import type { LabPod } from '../testing/lab.ts';

const PORTS = { a: 40_000, b: 8080 } as const;
const closedA = { podSelector: { matchLabels: { app: 'a' } }, policyTypes: ['Ingress' as const] };

interface End {
  readonly pod: LabPod;
  readonly port: number;
}

/** A connection between two ports, each way a few bytes, that a reset ends. Null: nobody answered. */
async function converse(client: End, server: End, family: 0 | 1): Promise<string | null> {
  const host = server.pod.addresses[family];
  const listener = createServer((socket) => {
    socket.on('error', () => {});
    socket.end('served');
  });
  listener.listen({ fd: listenTcp(server.pod.ns, host, server.port) });
  await once(listener, 'listening');
  try {
    const socket = await connectTcp(client.pod.ns, {
      host,
      port: server.port,
      localAddress: client.pod.addresses[family],
      localPort: client.port,
      timeoutMs: 1000,
    });
    const [data] = (await once(socket, 'data')) as [Buffer];
    socket.resetAndDestroy();
    await once(socket, 'close');
    return data.toString();
  } catch (error) {
    if ((error as { code?: string }).code === 'ETIMEDOUT') return null;
    throw error;
  } finally {
    listener.close();
  }
}

for (const family of [0, 1] as const)
  test(`a connection between the ends of one that is over is a new one, IPv${family === 0 ? 4 : 6}`, {
    skip: needsRoot,
  }, async (t) => {
    const { pod, setPolicies, backends } = await createCluster(t, openEbpf);
    const [a, b] = [
      { pod: pod('a'), port: PORTS.a },
      { pod: pod('b'), port: PORTS.b },
    ];
    const entries = async (): Promise<readonly TrackedFlow[]> => {
      const flows = (await backends[0]?.flows?.()) ?? [];
      return flows.filter(({ sport, dport }) => [sport, dport].every((p) => p === a.port || p === b.port));
    };
    const begunBy = async () => (await entries()).map(({ src, sport }) => [src, sport]);

    assert.equal(await converse(a, b, family), 'served');
    const [first] = await entries();
    assert.equal(await converse(a, b, family), 'served');
    const [second] = await entries();
    assert.deepEqual(await begunBy(), [[a.pod.addresses[family], a.port]]);
    assert.ok(first?.sent && second?.sent);
    assert.ok(second.sent.packets < 2 * first.sent.packets, 'it counts its own packets only');

    assert.equal(await converse(b, a, family), 'served');
    assert.deepEqual(await begunBy(), [[b.pod.addresses[family], b.port]]);

    assert.equal(await converse(a, b, family), 'served');
    await setPolicies({ closedA });
    assert.equal(await converse(a, b, family), 'served', 'answers pass');
    assert.equal(await converse(b, a, family), null, 'the other way is another connection');
  });
