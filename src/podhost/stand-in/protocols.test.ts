import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { check } from '../health/check.ts';
import { createAccessLog } from './access-log.ts';
import { connectionOf } from './connection.ts';
import { frameMessage } from './grpc.ts';
import { createHttpEcho } from './http-echo.ts';
import { sniff } from './sniff.ts';
import { serveTcp } from './tcp-echo.ts';
import { type Echo, type StandInPod, WHO_AM_I } from './types.ts';

const pod = { name: 'web', namespace: 'shop', node: 'node-1' } as StandInPod;
let port: number;
/** Of a server that waits for nobody. */
let hastyPort: number;
const servers: Server[] = [];
const lines: string[] = [];
let draining = false;

async function serve({ handshakeMs, ...waits }: { handshakeMs: number; sniffMs: number; idleMs: number }) {
  const http = createHttpEcho({
    handshakeMs,
    draining: () => draining,
    onRequest: (_c, { protocol, path, status }) => lines.push(`${protocol} ${path} ${status}`),
  });
  const server = createServer({ allowHalfOpen: true }, (socket) =>
    serveTcp(socket, connectionOf(pod, socket), { http, onRaw: () => lines.push('raw'), ...waits }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  servers.push(server);
  return (server.address() as AddressInfo).port;
}

before(async () => {
  port = await serve({ handshakeMs: 60_000, sniffMs: 2000, idleMs: 60_000 });
  hastyPort = await serve({ handshakeMs: 100, sniffMs: 100, idleMs: 500 });
});
after(() => {
  for (const server of servers) server.close();
});

/** Sends the parts one by one and resolves with all that came back until the end, or `enough`. */
function talk(
  parts: (Buffer | string)[],
  options: { end?: boolean; enough?: (text: string) => boolean; at?: number } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(options.at ?? port, '127.0.0.1');
    let text = '';
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (options.enough?.(text)) socket.destroy();
    });
    socket.on('close', () => resolve(text));
    const send = (i: number): void => {
      if (i < parts.length) socket.write(parts[i]!, () => setTimeout(() => send(i + 1), 5));
      else if (options.end) socket.end();
    };
    socket.on('connect', () => send(0));
  });
}

const body = (answer: string): Echo => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Echo;

test('a pod that drains ends every kept connection with an answer', async (t) => {
  draining = true;
  t.after(() => {
    draining = false;
  });
  const answer = await talk(['GET /bye HTTP/1.1\r\nHost: x\r\n\r\n']);
  assert.match(answer, /^HTTP\/1\.1 200 .*\r\nconnection: close\r\n/is);
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const goneAway = new Promise<void>((resolve) => session.on('goaway', () => resolve()));
  const request = session.request({ ':path': '/bye' });
  const text = await new Promise<string>((resolve, reject) => {
    let all = '';
    request.on('data', (chunk: Buffer) => (all += chunk.toString()));
    request.on('end', () => resolve(all));
    request.on('error', reject);
  });
  assert.equal((JSON.parse(text) as Echo).path, '/bye');
  await goneAway;
});

test('HTTP/1.1 is answered with what the pod saw', async () => {
  const answer = await talk([
    'POST /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi',
  ]);
  const echo = body(answer);
  assert.match(answer, /^HTTP\/1\.1 200 /);
  assert.deepEqual(
    [echo.pod, echo.namespace, echo.node, echo.protocol, echo.method, echo.path, echo.body],
    ['web', 'shop', 'node-1', 'HTTP/1.1', 'POST', '/a?b=c', 'hi'],
  );
  assert.equal(echo.peer.address, '127.0.0.1');
});

test('a request that comes byte by byte is still HTTP', async () => {
  const request = 'GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  assert.equal(body(await talk([request.slice(0, 2), request.slice(2, 9), request.slice(9)])).path, '/slow');
});

test('one connection carries many requests, pipelined too', async () => {
  const one = 'GET /n HTTP/1.1\r\nHost: x\r\n\r\n';
  const text = await talk([one + one, one], { enough: (got) => got.split('HTTP/1.1 200').length === 4 });
  assert.equal(text.split('HTTP/1.1 200').length, 4);
});

test('a caller may choose the status', async () => {
  assert.match(
    await talk(['GET /status/503 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n']),
    /^HTTP\/1\.1 503 /,
  );
});

test('broken HTTP is refused, not echoed', async () => {
  assert.match(await talk(['GET / HTTP/1.1\r\nContent-Length: nonsense\r\n\r\n']), /^HTTP\/1\.1 400 /);
});

test('raw bytes come back', async () => {
  const bytes = Buffer.from([0, 255, 1, 2, 10, 13]);
  assert.equal(await talk([bytes], { enough: (text) => text.length === 6 }), bytes.toString('latin1'));
});

test('bytes that could become HTTP but do not are echoed after a moment', async () => {
  assert.equal(await talk(['GET'], { enough: (text) => text.length === 3 }), 'GET');
});

test('a client that closes its half gets all its bytes back', async () => {
  assert.equal(await talk(['PRI'], { end: true }), 'PRI');
  const long = 'x'.repeat(300_000);
  assert.equal((await talk([long], { end: true })).length, long.length);
});

test('who asks is told who answers', async () => {
  const echo = JSON.parse(await talk([WHO_AM_I], { enough: (text) => text.endsWith('\n') })) as Echo;
  assert.deepEqual([echo.pod, echo.peer.address], ['web', '127.0.0.1']);
});

test('a silent client is let go', async () => {
  assert.equal(await talk([], { at: hastyPort }), '');
});

test('HTTP/2 without TLS is answered, gRPC echoed', async () => {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  const call = (headers: Record<string, string>, data?: Buffer) =>
    new Promise<{ data: Buffer; status: unknown; trailers: unknown }>((resolve, reject) => {
      const stream = session.request({ ':path': '/x', ...headers });
      const chunks: Buffer[] = [];
      let status: unknown;
      let trailers: unknown;
      stream.on('response', (got) => (status = got[':status']));
      stream.on('trailers', (got) => (trailers = got['grpc-status']));
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => resolve({ data: Buffer.concat(chunks), status, trailers }));
      stream.on('error', reject);
      stream.end(data);
    });
  const plain = await call({ ':method': 'GET' });
  assert.equal(plain.status, 200);
  assert.equal((JSON.parse(plain.data.toString()) as Echo).protocol, 'HTTP/2');
  const message = frameMessage(Buffer.from('anything'));
  const grpc = await call(
    { ':method': 'POST', ':path': '/shop.Cart/Add', 'content-type': 'application/grpc' },
    message,
  );
  assert.deepEqual(grpc.data, message);
  assert.equal(grpc.trailers, '0');
  session.close();
});

test('any garbage leaves the server serving', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 64 }),
      fc.constantFrom('', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'GET / HTTP/1.1\r\n'),
      async (bytes, head) => {
        await talk([Buffer.concat([Buffer.from(head), bytes])], { end: true, at: hastyPort }).catch(() => {});
      },
    ),
    { numRuns: 60 },
  );
  let answer = '';
  for (let i = 0; i < 100 && answer === ''; i++)
    answer = await talk(['GET / HTTP/1.0\r\n\r\n'], { at: hastyPort }).catch(() => '');
  assert.match(answer, /200 OK/);
});

const connectTcp = ({ host, port }: { host: string; port: number }) =>
  new Promise<Socket>((resolve, reject) => {
    const socket = connect(port, host, () => resolve(socket));
    socket.on('error', reject);
  });

test('probes pass and fail as a kubelet has them', async () => {
  const run = (probe: object, at = port) =>
    check(probe, { address: '127.0.0.1', port: at, timeoutMs: 60_000 }, { connectTcp });
  assert.equal(await run({ httpGet: { path: '/healthz', port } }), undefined);
  assert.match((await run({ httpGet: { path: '/status/500', port } }))!, /500/);
  assert.equal(await run({ httpGet: { path: '/status/399', port } }), undefined);
  assert.equal(await run({ tcpSocket: { port } }), undefined);
  assert.equal(await run({ grpc: { port } }), undefined);
  assert.equal(await run({ exec: { command: ['true'] } }), undefined);
  assert.match((await run({ tcpSocket: { port: 1 } }, 1))!, /ECONNREFUSED/);
});

test('a server that accepts and says nothing fails a probe in time', async (t) => {
  const deaf = createServer(() => {});
  await new Promise<void>((resolve) => deaf.listen(0, '127.0.0.1', resolve));
  t.after(() => deaf.close());
  const at = (deaf.address() as AddressInfo).port;
  const target = { address: '127.0.0.1', port: at, timeoutMs: 100 };
  assert.match((await check({ httpGet: { port: at } }, target, { connectTcp }))!, /no answer within 100 ms/);
  assert.match((await check({ grpc: { port: at } }, target, { connectTcp }))!, /no answer within 100 ms/);
});

test('what the first bytes say does not depend on how many there are', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
      const whole = sniff(Buffer.from(bytes));
      for (let n = 1; n < bytes.length; n++) {
        const part = sniff(Buffer.from(bytes.subarray(0, n)));
        assert.ok(part === 'more' || part === whole, `${n} bytes: ${part}, all: ${whole}`);
      }
    }),
  );
});

test('a log turns at its size and keeps one older file', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'heddle-test-log-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'deep', 'a.log');
  for (let round = 0; round < 4; round++) {
    const log = createAccessLog({ path, maxBytes: 100, gatherMs: 1 });
    log.write(`${round} ${'x'.repeat(100)}`);
    await log.close();
  }
  assert.match(await readFile(path, 'utf8'), /^3 x+\n$/);
  assert.match(await readFile(`${path}.1`, 'utf8'), /^2 x+\n$/);
});

test('a flood of lines is counted, not kept', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'heddle-test-log-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'a.log');
  const log = createAccessLog({ path, maxPending: 1000 });
  for (let i = 0; i < 1000; i++) log.write('y'.repeat(99));
  await log.close();
  assert.match(await readFile(path, 'utf8'), /989 lines were dropped/);
  assert.ok((await stat(path)).size < 3000);
});

test('WebSocket messages come back as they were, and the pod says who it is', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/chat`, ['chat.v1', 'chat.v2']);
  socket.binaryType = 'arraybuffer';
  const next = () =>
    new Promise<unknown>((resolve) => {
      socket.addEventListener('message', (event) => resolve((event as MessageEvent).data), { once: true });
    });
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true });
    socket.addEventListener('error', reject, { once: true });
  });
  assert.equal(socket.protocol, 'chat.v1');
  for (const text of ['', 'grüße', 'x'.repeat(100_000)]) {
    const answer = next();
    socket.send(text);
    assert.equal(await answer, text);
  }
  const bytes = next();
  socket.send(Uint8Array.from([0, 255, 7]));
  assert.deepEqual(new Uint8Array((await bytes) as ArrayBuffer), Uint8Array.from([0, 255, 7]));
  const who = next();
  socket.send(WHO_AM_I);
  const echo = JSON.parse((await who) as string) as Echo;
  assert.deepEqual(
    [echo.pod, echo.protocol, echo.path, echo.peer.address],
    ['web', 'WebSocket', '/chat', '127.0.0.1'],
  );
  const closed = new Promise((resolve) => socket.addEventListener('close', resolve, { once: true }));
  socket.close(1000);
  await closed;
});

test('an upgrade to anything else is answered as if it had not been asked for', async () => {
  const answer = await talk(
    [
      'GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n',
    ],
    { enough: (text) => text.includes('"pod"') },
  );
  assert.match(answer, /^HTTP\/1.1 200 /);
});

test('whatever bytes follow a WebSocket handshake, others are served', async () => {
  const handshake =
    'GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n';
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
      const answer = await talk([Buffer.concat([Buffer.from(handshake), Buffer.from(bytes)])], { end: true });
      assert.match(answer, /^HTTP\/1.1 101 /);
      assert.doesNotMatch(answer, /sec-websocket-protocol/);
    }),
    { numRuns: 20 },
  );
  assert.equal(body(await talk(['GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'])).pod, 'web');
});
