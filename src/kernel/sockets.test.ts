import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { openNft } from './nft.ts';
import { acceptTcp, bindUdp, checkTcp, connectTcp, connectTcpHere, listenTcp } from './sockets.ts';
import { setTcpMd5, setTtl, tcpMd5Drops } from './tcp-options.ts';
import { needsRoot, testNetns } from './test-netns.ts';

const skip = needsRoot;
const openDescriptors = () => fs.readdirSync('/proc/self/fd').length;

test('TCP is served and reached inside of a namespace, in both families', { skip }, async (t) => {
  const ns = testNetns(t);
  const server = net.createServer((socket) => socket.pipe(socket));
  server.listen({ fd: listenTcp(ns, '::', 8080) });
  t.after(() => server.close());
  for (const host of ['127.0.0.1', '::1']) {
    const socket = await connectTcp(ns, { host, port: 8080, localAddress: host, localPort: 9000 });
    assert.equal(socket.localPort, 9000);
    socket.write('ping');
    assert.equal(String((await once(socket, 'data'))[0]), 'ping');
    socket.end();
    await once(socket, 'close');
  }
  await assert.rejects(connectTcp(undefined, { host: '127.0.0.1', port: 8080 }), { code: 'ECONNREFUSED' });
});

test('Node reaches servers of its own namespace, and tells who does not answer as others are told', async (t) => {
  const before = openDescriptors();
  const server = net.createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const socket = await connectTcpHere({ host: '127.0.0.1', port });
  socket.end('ping');
  assert.equal(String((await once(socket, 'data'))[0]), 'ping');
  await once(socket, 'close');
  const refused = { host: '::1', port: 1, timeoutMs: 60_000 };
  await assert.rejects(connectTcpHere(refused), { code: 'ECONNREFUSED', syscall: 'connect', port: 1 });
  await assert.rejects(connectTcpHere({ host: 'localhost', port }), { message: /localhost/ });
  assert.ok(openDescriptors() <= before + 2, 'no descriptor stays');
});

test('UDP is served inside of a namespace', { skip }, async (t) => {
  const ns = testNetns(t);
  const [server, client] = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
  t.after(() => [server, client].forEach((socket) => socket.close()));
  server.on('message', (data, from) => server.send(data, from.port, from.address));
  server.bind({ fd: bindUdp(ns, '127.0.0.1', 5353) });
  client.bind({ fd: bindUdp(ns, '127.0.0.1', 0) });
  client.send('ping', 5353, '127.0.0.1');
  assert.equal(String((await once(client, 'message'))[0]), 'ping');
});

test('an IPv6 wildcard may leave IPv4 to others', { skip }, (t) => {
  const ns = testNetns(t);
  const fds = [listenTcp(ns, '::', 80, { v6Only: true }), listenTcp(ns, '0.0.0.0', 80)];
  assert.throws(() => listenTcp(ns, '::', 80), { code: 'EADDRINUSE', port: 80 });
  fds.forEach((fd) => fs.closeSync(fd));
});

test('refused, unreachable, silent and given up are told apart, and leave no descriptor', {
  skip,
}, async (t) => {
  const ns = testNetns(t);
  const nft = openNft(ns);
  nft.run('table inet t { chain c { type filter hook input priority 0; tcp dport 81 drop; }\n }');
  nft.close();
  const before = openDescriptors();
  const to = (host: string, port: number, more = {}) => connectTcp(ns, { host, port, ...more });
  await assert.rejects(to('127.0.0.1', 1), {
    code: 'ECONNREFUSED',
    message: 'connect ECONNREFUSED 127.0.0.1:1',
  });
  await assert.rejects(to('10.9.9.9', 1), { code: 'ENETUNREACH' });
  await assert.rejects(to('::1', 81, { timeoutMs: 20 }), {
    code: 'ETIMEDOUT',
    message: 'connect ETIMEDOUT [::1]:81',
  });
  await assert.rejects(to('::1', 81, { localAddress: 'fd00::9' }), { code: 'EADDRNOTAVAIL' });
  const abort = new AbortController();
  const waiting = to('127.0.0.1', 81, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  assert.equal(openDescriptors(), before);
});

test('asking whether a port is free disturbs nobody who asks, and sees who listens', { skip }, (t) => {
  const ns = testNetns(t);
  checkTcp(ns, '127.0.0.1', 80);
  const fd = listenTcp(ns, '127.0.0.1', 80);
  assert.throws(() => checkTcp(ns, '127.0.0.1', 80), { code: 'EADDRINUSE', port: 80 });
  fs.closeSync(fd);
  checkTcp(ns, '127.0.0.1', 80);
});

test('RFC 2385: with the same key there is a connection, with another one silence that is counted', {
  skip,
}, async (t) => {
  const ns = testNetns(t);
  for (const host of ['127.0.0.1', '::1']) {
    const listener = listenTcp(ns, host, 179, { v6Only: true });
    setTcpMd5(listener, host, 'secret');
    const seen: (string | undefined)[] = [];
    const accepting = acceptTcp(listener, (socket) => {
      seen.push(socket.remoteAddress);
      socket.end('hello');
    });
    t.after(() => accepting.close());
    const before = tcpMd5Drops(ns) ?? 0;
    const wrong = { host, port: 179, md5: { peer: host, key: 'other' }, timeoutMs: 200 };
    await assert.rejects(connectTcp(ns, wrong), { code: 'ETIMEDOUT' });
    await assert.rejects(connectTcp(ns, { host, port: 179, timeoutMs: 200 }), { code: 'ETIMEDOUT' });
    assert.ok((tcpMd5Drops(ns) ?? 0) > before);
    const socket = await connectTcp(ns, { host, port: 179, md5: { peer: host, key: 'secret' } });
    assert.equal(String((await once(socket, 'data'))[0]), 'hello');
    socket.destroy();
    assert.deepEqual(seen, [host]);
  }
});

test('a key that is too long for RFC 2385 is refused', { skip }, async (t) => {
  const listener = listenTcp(testNetns(t), '127.0.0.1', 179);
  assert.throws(() => setTcpMd5(listener, '10.0.0.1', 'x'.repeat(81)), { code: 'TcpMd5' });
  setTcpMd5(listener, '10.0.0.1', '');
  fs.closeSync(listener);
});

test('RFC 5082: what may have come from farther away than was said is not taken', { skip }, async (t) => {
  const ns = testNetns(t);
  for (const host of ['127.0.0.1', '::1']) {
    const listener = listenTcp(ns, host, 179, { v6Only: true, ttl: { send: 255 } });
    const accepting = acceptTcp(listener, (socket, fd) => {
      setTtl(fd, host === '::1' ? 6 : 4, { send: 255, least: 255 });
      socket.once('data', () => socket.end('hello'));
    });
    t.after(() => accepting.close());
    const near = await connectTcp(ns, { host, port: 179, ttl: { send: 255, least: 255 } });
    near.write('?');
    assert.equal(String((await once(near, 'data'))[0]), 'hello');
    near.destroy();
  }
});
