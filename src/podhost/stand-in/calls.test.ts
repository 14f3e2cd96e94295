/** A stand-in server, a namespace, a name server in it: what its pods call, and what they say of it. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { request } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { decodeMessage, encodeMessage } from '../../dns/message.ts';
import { TYPE } from '../../dns/record.ts';
import type { Netns } from '../../kernel/netns.ts';
import { openRoute } from '../../kernel/route.ts';
import { bindUdp, connectTcp } from '../../kernel/sockets.ts';
import { needsRoot, testFolder, testNetns } from '../../kernel/test-netns.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLog } from '../../lib/log.ts';
import { parseAddress, toBytes } from '../../lib/ip.ts';
import { callSocket } from '../../lib/unix-http.ts';
import { type Behaviour, behaviourOf } from './behaviour.ts';
import { runStandInServer } from './server.ts';
import type { Echo, StandInPod } from './types.ts';

/** Reached by packets that nobody takes. */
const SILENT = 'fd00:dead::2';

/** Names of `shop.svc`, all that the name server knows. */
const NAMES: Readonly<Record<string, string[]>> = {
  'cart.shop.svc': [SILENT, '127.0.0.1'],
  'catalog.shop.svc': ['::1', '127.0.0.1'],
};

async function serveNames(t: TestContext, ns: Netns): Promise<string[]> {
  const asked: string[] = [];
  const server = createSocket('udp4');
  t.after(() => server.close());
  server.on('message', (bytes, { address, port }) => {
    const query = decodeMessage(bytes);
    const { name, type } = query.questions[0]!;
    asked.push(`${type === TYPE.A ? 'A' : 'AAAA'} ${name}`);
    const known = (NAMES[name] ?? [])
      .map(parseAddress)
      .filter(({ family }) => (family === 4) === (type === TYPE.A));
    const answers = known.map(
      (one) => ({ name, type: one.family === 4 ? 'A' : 'AAAA', ttl: 5, address: toBytes(one) }) as const,
    );
    server.send(
      encodeMessage({ ...query, response: true, rcode: NAMES[name] ? 0 : 3, answers }),
      port,
      address,
    );
  });
  const listening = once(server, 'listening');
  server.bind({ fd: bindUdp(ns, '127.0.0.1', 53) });
  await listening;
  return asked;
}

const asksFor = (annotations: Record<string, string>): { behaviour?: Behaviour } => {
  const named = Object.entries(annotations).map(([key, value]) => [`heddle.dev/stand-in-${key}`, value]);
  const { behaviour, problems } = behaviourOf({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'x', annotations: Object.fromEntries(named) },
  });
  assert.deepEqual(problems, []);
  return behaviour ? { behaviour } : {};
};

async function get(ns: Netns, port: number, headers = {}): Promise<{ status: number; echo: Echo }> {
  const socket = await connectTcp(ns, { host: '127.0.0.1', port, timeoutMs: 60_000 });
  const req = request({
    createConnection: () => socket,
    headers: { host: 'x', connection: 'close', ...headers },
  });
  req.end();
  const [res] = await once(req, 'response');
  let text = '';
  for await (const chunk of res) text += String(chunk);
  return { status: res.statusCode, echo: JSON.parse(text) as Echo };
}

test('a call graph answers with its tree, by IPv4 where IPv6 is dropped in silence', {
  skip: needsRoot,
}, async (t) => {
  const ns = testNetns(t);
  const route = openRoute(ns);
  t.after(() => route.close());
  // What goes out of one end arrives at the other for somebody who is not there.
  route.addVeth({ name: 'void', peer: { name: 'end' } });
  for (const name of ['void', 'end']) route.setLink(name, { up: true });
  route.replaceAddress('void', 'fd00:dead::1/64', { nodad: true });
  route.replaceNeighbour({ dev: 'void', address: SILENT, mac: '02:00:00:00:00:99' });
  const asked = await serveNames(t, ns);

  const folder = testFolder(t);
  const socketPath = join(folder, 'stand-in.sock');
  const stop = new AbortController();
  const done = runStandInServer(
    { socketPath, statePath: join(folder, 'pods.json'), clock: systemClock, log: silentLog },
    stop.signal,
  );
  t.after(async () => {
    stop.abort();
    await done;
  });
  const pod = (name: string, port: number, annotations: Record<string, string>): StandInPod => ({
    uid: name,
    namespace: 'shop',
    name,
    node: 'node-1',
    netns: ns.path,
    addresses: [],
    tcp: [port],
    udp: [],
    log: join(folder, `${name}.log`),
    resolv: { nameservers: ['127.0.0.1'], search: ['shop.svc', 'svc'], ndots: 5 },
    ...asksFor(annotations),
  });
  const timeout = { 'calls-timeout': '60s' };
  const pods = [
    pod('web', 8080, { calls: 'http://cart:8081/basket?of=me, http://nowhere:1/', ...timeout }),
    pod('cart', 8081, { calls: 'grpc://catalog:9000', latency: 'uniform(1ms,2ms)', ...timeout }),
    pod('catalog', 9000, {}),
    pod('broken', 8082, { 'error-rate': '100%,status=503,grpc=INTERNAL' }),
    pod('caller', 8083, {
      calls: 'grpc://127.0.0.1:8082, http://[::1]:9000',
      'calls-order': 'sequence',
      ...timeout,
    }),
    pod('snake', 8084, { calls: 'http://127.0.0.1:8084', ...timeout }),
  ];
  for (let up = false; !up; ) {
    const put = callSocket({ socketPath, method: 'PUT', path: '/pods', body: { pods } });
    up = await put.then(
      () => true,
      () => systemClock.sleep(10).then(() => false),
    );
  }

  const traceparent = `00-${'7'.repeat(32)}-${'8'.repeat(16)}-01`;
  const { status, echo } = await get(ns, 8080, { traceparent, tracestate: 'v=1' });
  const [toCart, toNowhere] = echo.calls!;
  assert.deepEqual(toCart!.attempts, [SILENT, '127.0.0.1'], String(toCart!.error));
  assert.deepEqual(toCart!.remote, { address: '127.0.0.1', port: 8081 });
  assert.equal(toCart!.status, 200);
  for (const question of ['AAAA cart.shop.svc', 'A cart.shop.svc', 'AAAA nowhere'])
    assert.ok(asked.includes(question), asked.join());
  const cart = toCart!.answer as Echo;
  assert.deepEqual([cart.pod, cart.node, cart.path], ['cart', 'node-1', '/basket?of=me']);
  assert.match(String(cart.headers!['traceparent']), /^00-7{32}-(?!8{16})[\da-f]{16}-01$/);
  assert.equal(cart.headers!['tracestate'], 'v=1');
  assert.equal(cart.headers!['host'], 'cart:8081');
  const [toCatalog] = cart.calls!;
  assert.deepEqual([toCatalog!.attempts, toCatalog!.grpcStatus], [['::1'], 0], String(toCatalog!.error));
  const catalog = toCatalog!.answer as Echo;
  assert.deepEqual([catalog.pod, catalog.protocol, catalog.peer.address], ['catalog', 'gRPC', '::1']);
  assert.match(String(catalog.headers!['traceparent']), /^00-7{32}-/);
  assert.match(toNowhere!.error!, /^ENOTFOUND nowhere/);
  assert.equal(status, 502, 'an application that cannot do without');

  const probed = await get(ns, 8082, { 'user-agent': 'kube-probe/1.35' });
  assert.equal(probed.status, 200, 'probes are spared');
  const failed = await get(ns, 8083);
  assert.deepEqual(
    failed.echo.calls!.map(({ status, grpcStatus }) => status ?? grpcStatus),
    [13, 200],
  );
  assert.equal((failed.echo.calls![0]!.answer as Echo).pod, 'broken');

  let depth = 0;
  for (let at: Echo | undefined = (await get(ns, 8084)).echo; at; depth++) {
    const [next]: Echo['calls'] & object = at.calls!;
    if (next!.skipped) assert.match(next!.skipped, /enough/);
    at = next!.answer as Echo | undefined;
  }
  assert.equal(depth, 9, 'a pod that calls itself ends');
});
