import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import net from 'node:net';
import { type TestContext, test } from 'node:test';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { createMetrics } from '../lib/metrics.ts';
import type { Next } from './chain.ts';
import { decodeMessage, encodeMessage, query, RCODE } from './message.ts';
import { exposeDns } from './metrics.ts';
import { createNodeDns } from './node-dns.ts';
import { TYPE } from './record.ts';
import { createRecords } from './records.ts';
import { createDnsServer, type DnsServerOptions } from './server.ts';

const web = 'web.shop.svc.cluster.local';

function names() {
  const records = createRecords();
  const service = (name: string, spec: object) => ({
    apiVersion: 'v1' as const,
    kind: 'Service' as const,
    metadata: { name, namespace: 'shop' },
    spec,
  });
  records.setService(
    service('web', {
      clusterIP: '10.96.0.20',
      clusterIPs: ['10.96.0.20', 'fd00:10:96::20'],
      ports: [{ name: 'http', port: 80 }],
    }),
  );
  records.setService(service('db', { clusterIP: 'None' }));
  const addresses = Array.from({ length: 200 }, (_, i) => ({ addresses: [`10.244.0.${i}`] }));
  records.setSlices('shop/db', [
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'db-1', namespace: 'shop' },
      addressType: 'IPv4',
      endpoints: addresses,
    },
  ]);
  records.synced();
  return records;
}

async function start(t: TestContext, more: Partial<DnsServerOptions> = {}) {
  const records = names();
  const addresses = ['127.0.0.1', '::1'];
  const handler = createNodeDns({
    records,
    addresses: [],
    ranges: ['10.96.0.0/16', '10.244.0.0/16'],
    log: silentLog,
  });
  const server = createDnsServer({ addresses, port: 0, handler, log: silentLog, ...more });
  const stop = new AbortController();
  const done = server.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await done;
  });
  await server.ready();
  const port = (transport: 'udp' | 'tcp', address = '127.0.0.1') =>
    server.listening().find((each) => each.transport === transport && each.address === address)?.port ?? 0;
  return { server, port, records, stop, done };
}

const frame = (data: Buffer) => Buffer.concat([Buffer.from([data.length >> 8, data.length & 255]), data]);

function frames(data: Buffer): Buffer[] {
  if (data.length < 2) return [];
  const end = 2 + data.readUInt16BE(0);
  return [data.subarray(2, end), ...frames(data.subarray(end))];
}

async function readAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

for (const address of ['127.0.0.1', '::1'])
  test(`a stock resolver gets its answers from ${address}`, async (t) => {
    const { port } = await start(t);
    const resolver = new Resolver({ timeout: 60_000, tries: 1 });
    resolver.setServers([
      address.includes(':') ? `[${address}]:${port('udp', address)}` : `${address}:${port('udp', address)}`,
    ]);
    assert.deepEqual(await resolver.resolve4(web), ['10.96.0.20']);
    assert.deepEqual(await resolver.resolve6(web), ['fd00:10:96::20']);
    assert.deepEqual(await resolver.resolveSrv(`_http._tcp.${web}`), [
      { name: web, port: 80, priority: 0, weight: 100, type: 'SRV' },
    ]);
    assert.deepEqual(await resolver.reverse('10.96.0.20'), [web]);
    assert.deepEqual(await resolver.resolveTxt('dns-version.cluster.local'), [['1.1.0']]);
    await assert.rejects(resolver.resolve4(`gone.shop.svc.cluster.local`), { code: 'ENOTFOUND' });
    await assert.rejects(resolver.resolve4('example.com'), { code: 'EREFUSED' });
  });

test('TCP answers what UDP had to cut, many on one connection, in pieces as they come', async (t) => {
  const { port } = await start(t);
  const socket = net.connect({ host: '127.0.0.1', port: port('tcp') });
  const asked = ['db.shop.svc.cluster.local', web, 'gone.shop.svc.cluster.local'];
  const stream = Buffer.concat(asked.map((name, id) => frame(encodeMessage(query(id, name, TYPE.A)))));
  for (const byte of stream) socket.write(Buffer.from([byte]));
  socket.end();
  const responses = frames(await readAll(socket)).map((data) => decodeMessage(data));
  assert.deepEqual(
    responses.map(({ id, rcode, answers, truncated }) => [id, rcode, answers.length, truncated]),
    [
      [0, RCODE.NOERROR, 200, false],
      [1, RCODE.NOERROR, 1, false],
      [2, RCODE.NXDOMAIN, 0, false],
    ],
  );
});

test('a connection that is silent, too loud, or talks nonsense is cut, and the others stay', async (t) => {
  const impatient = await start(t, { tcpIdleMs: 50 });
  const silent = net.connect({ host: '127.0.0.1', port: impatient.port('tcp') });
  assert.equal((await readAll(silent)).length, 0);
  const { port } = await start(t);
  for (const nonsense of [Buffer.from([0xff, 0xff]), Buffer.from([0, 1, 0])]) {
    const socket = net.connect({ host: '127.0.0.1', port: port('tcp') }).on('error', () => {});
    socket.write(nonsense);
    await once(socket, 'close');
  }
  const socket = net.connect({ host: '127.0.0.1', port: port('tcp') });
  socket.end(frame(encodeMessage(query(5, web, TYPE.A))));
  assert.equal(frames(await readAll(socket)).length, 1);
});

test('answers that take their time are bounded in number', async (t) => {
  const waiting: (() => void)[] = [];
  const slow: Next = () =>
    new Promise((resolve) => {
      waiting.push(() =>
        resolve({ rcode: 0, authoritative: true, answers: [], authorities: [], additionals: [] }),
      );
    });
  const { port, server } = await start(t, { handler: slow, maxInFlight: 2 });
  const socket = dgram.createSocket('udp4');
  t.after(() => socket.close());
  for (let id = 0; id < 5; id++) socket.send(encodeMessage(query(id, web, TYPE.A)), port('udp'), '127.0.0.1');
  while (server.stats().overload < 3) await new Promise(setImmediate);
  const ids: number[] = [];
  socket.on('message', (data) => ids.push(decodeMessage(data).id));
  waiting.forEach((answer) => answer());
  while (ids.length < 2) await new Promise(setImmediate);
  assert.deepEqual(
    ids.toSorted((a, b) => a - b),
    [0, 1],
  );
});

test('a port that is taken is had as soon as it is free', async (t) => {
  const holder = dgram.createSocket('udp4');
  holder.bind(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address();
  const warnings: string[] = [];
  const log = { ...silentLog, warn: (message: string) => warnings.push(message) };
  let tries = 0;
  const clock = {
    ...systemClock,
    sleep: async (_ms: number) => {
      tries++;
      if (tries === 3) {
        holder.close();
        await once(holder, 'close');
      }
    },
  };
  await start(t, { addresses: ['127.0.0.1'], port, log, clock });
  assert.ok(tries >= 3);
  assert.equal(warnings.length, 1);
});

test('when it ends nothing listens any more', async (t) => {
  const { server, stop, done } = await start(t);
  assert.equal(server.listening().length, 4);
  stop.abort();
  await done;
  assert.deepEqual(server.listening(), []);
});

test('what was answered and dropped is counted', async (t) => {
  const { server, port, records } = await start(t);
  const metrics = createMetrics();
  exposeDns(metrics, server, records);
  const socket = dgram.createSocket('udp4');
  t.after(() => socket.close());
  for (const data of [
    Buffer.alloc(3),
    encodeMessage(query(1, web, 1)),
    encodeMessage(query(2, 'example.com', 1)),
  ])
    socket.send(data, port('udp'), '127.0.0.1');
  while ([...server.stats().responses.values()].reduce((a, b) => a + b, 0) < 2)
    await new Promise(setImmediate);
  const text = metrics.text();
  assert.match(text, /heddle_dns_responses_total\{rcode="NOERROR",transport="udp"\} 1/);
  assert.match(text, /heddle_dns_responses_total\{rcode="REFUSED",transport="udp"\} 1/);
  assert.match(text, /heddle_dns_dropped_total\{reason="malformed"\} 1/);
  assert.match(text, /heddle_dns_listening 4/);
  assert.match(metrics.text(), /rcode="NOERROR",transport="udp"\} 1/);
});
