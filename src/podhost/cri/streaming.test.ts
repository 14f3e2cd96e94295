import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer as createSocketServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { needsRoot } from '../../kernel/test-netns.ts';
import { HeddleError } from '../../lib/errors.ts';
import { openStreams, PROTOCOL } from './streaming.ts';

/** A runtime whose streams `onUpgrade` gives; where it is asked, and the port of its streams. */
async function runtime(t: TestContext, onUpgrade?: (req: IncomingMessage, socket: Duplex) => void) {
  const folder = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-streaming-`));
  const sockets = new Set<Duplex>();
  const asked = createSocketServer((socket) => void socket.resume());
  const http = createServer((_req, res) => {
    res.writeHead(404);
    res.end();
  });
  http.on('connection', (socket) => void sockets.add(socket));
  if (onUpgrade) http.on('upgrade', onUpgrade);
  await new Promise<void>((resolve) => void asked.listen(join(folder, 'sock'), resolve));
  await new Promise<void>((resolve) => void http.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    http.close();
    asked.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { endpoint: `unix://${join(folder, 'sock')}`, port: (http.address() as AddressInfo).port, sockets };
}

const refused = (words: RegExp) => (error: unknown) =>
  error instanceof HeddleError && error.code === 'AttachRefused' && words.test(error.message);
const switching = (more: string) => (_req: IncomingMessage, socket: Duplex) =>
  void socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n${more}\r\nhead`,
  );

test('streams are had at the address that the runtime names', { skip: needsRoot }, async (t) => {
  const { endpoint, port } = await runtime(t, switching(`X-Stream-Protocol-Version: ${PROTOCOL}\r\n`));
  for (const host of ['127.0.0.1', '0.0.0.0', 'localhost', '127.1']) {
    const { socket, head } = await openStreams(endpoint, `http://${host}:${port}/attach/token`);
    assert.equal(head.toString(), 'head');
    socket.destroy();
  }
});

test('no address but the runtime’s own is dialled, whatever it says', { skip: needsRoot }, async (t) => {
  const { endpoint, port, sockets } = await runtime(t);
  for (const host of ['192.0.2.7', '[2001:db8::7]', 'example.org', '169.254.169.254', '[::ffff:192.0.2.7]'])
    await assert.rejects(
      openStreams(endpoint, `http://${host}:${port}/attach/token`),
      refused(/is no address of the runtime's own/),
    );
  await assert.rejects(openStreams(endpoint, `https://127.0.0.1:${port}/`), refused(/serves them by https/));
  for (const url of ['', 'http://', '/attach', 'http://127.0.0.1:99999/'])
    await assert.rejects(openStreams(endpoint, url), refused(/is no URL/));
  assert.equal(sockets.size, 0);
});

test('what does not become streams is refused in time, and nothing of it is left open', {
  skip: needsRoot,
}, async (t) => {
  const gone = Promise.withResolvers<void>();
  const silent = await runtime(t, (_req, socket) => {
    socket.on('error', () => {}).resume();
    socket.on('end', gone.resolve);
  });
  const url = (port: number) => `http://127.0.0.1:${port}/attach/token`;
  await assert.rejects(
    openStreams(silent.endpoint, url(silent.port), 100),
    refused(/no answer within 0\.1 s/),
  );
  await gone.promise;
  const other = await runtime(t, switching(''));
  await assert.rejects(openStreams(other.endpoint, url(other.port)), refused(/a protocol without a name/));
  const none = await runtime(t);
  await assert.rejects(openStreams(none.endpoint, url(none.port)), refused(/it answered 404/));
});
