import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openNft } from './nft.ts';
import { fdOf } from './peer.ts';
import { connectTcp, listenTcp } from './sockets.ts';
import { type TcpInfo, tcpInfo } from './tcp-info.ts';
import { needsRoot, testNetns } from './test-netns.ts';
import { isLost, watchForLost } from './lost-peers.ts';

const skip = needsRoot;
const SILENT_MS = 100;

test('a client is lost when it leaves two questions open, and not for being slow', () => {
  const calm: TcpInfo = { probes: 0, retransmits: 0, timeoutMs: 200, silentMs: 0 };
  const lost = (info: Partial<TcpInfo>) => isLost({ ...calm, ...info }, 90_000);
  assert.equal(lost({ silentMs: 10_000_000 }), false, 'nothing to say');
  assert.equal(lost({ silentMs: 119_000, probes: 1, timeoutMs: 120_000 }), false, 'asked a moment ago');
  assert.equal(lost({ silentMs: 125_000, retransmits: 9, timeoutMs: 120_000 }), false, 'sent a moment ago');
  assert.equal(lost({ silentMs: 80_000, retransmits: 8, timeoutMs: 51_200 }), false, 'a short interruption');
  assert.equal(lost({ silentMs: 90_000, retransmits: 8, timeoutMs: 51_200 }), true);
  assert.equal(lost({ silentMs: 240_000, probes: 2 }), true);
});

test('a client whose network goes while something is on its way to it is noticed; one that takes nothing stays', {
  skip,
}, async (t) => {
  await Promise.all([inFlight(t), closedWindow(t)]);
});

async function inFlight(t: TestContext): Promise<void> {
  const { served, client, cut } = await pair(t);
  client.resume();
  served.write('all is well');
  await once(client, 'data');
  cut();
  served.write('are you there?');
  await gone(served);
}

async function closedWindow(t: TestContext): Promise<void> {
  const { served, cut } = await pair(t);
  // More than both sides' buffers take.
  served.write(Buffer.alloc(64 << 20));
  await until(() => tcpInfo(fdOf(served))!.silentMs >= 2 * SILENT_MS);
  assert.equal(served.destroyed, false);
  cut();
  await gone(served);
}

/** A connection in a network of its own; the client does not read yet. */
async function pair(t: TestContext) {
  const ns = testNetns(t);
  const lost: net.Socket[] = [];
  const clients = watchForLost({
    onLost: (socket) => lost.push(socket),
    lookMs: 20,
    silentMs: SILENT_MS,
  });
  t.after(clients.close);
  const server = net.createServer({ noDelay: true });
  server.listen({ fd: listenTcp(ns, '127.0.0.1', 8080) });
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const client = await connectTcp(ns, { host: '127.0.0.1', port: 8080 });
  client.pause();
  const [served] = await accepted;
  client.on('error', () => {});
  served.on('error', () => {});
  clients.watch(served);
  t.after(() => {
    for (const socket of [client, served]) socket.destroy();
    server.close();
  });
  const cut = () => {
    const nft = openNft(ns);
    nft.run('table inet t { chain c { type filter hook input priority 0; drop; }\n }');
    nft.close();
  };
  return { served, client, cut };
}

const gone = (socket: net.Socket): Promise<void> => until(() => socket.closed);

async function until(isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + 120_000; !isSo(); await sleep(20))
    assert.ok(Date.now() < end, 'it did not come about');
}
