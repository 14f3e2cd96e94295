import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp2, type ServerHttp2Stream } from 'node:http2';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { HeddleError } from '../lib/errors.ts';
import { CriFailure, openCri } from './client.ts';
import { encode } from './codec.ts';
import { GrpcError, openChannel, Status } from './grpc.ts';
import { removeSandboxes } from './sandboxes.ts';

const VERSION = {
  version: '0.1.0',
  runtimeName: 'a runtime',
  runtimeVersion: '9.8',
  runtimeApiVersion: 'v1',
};
const NEVER = 60_000;

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), `heddle-test-${process.pid}-cri-`));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function listen(t: TestContext, server: Server, path: string): Promise<void> {
  const open = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => open.add(socket));
  await new Promise<void>((resolve) => void server.listen(path, resolve));
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
}

/** A runtime that does with each call what `answer` does. */
async function runtime(t: TestContext, answer: (stream: ServerHttp2Stream, path: string) => void) {
  const path = join(folderOf(t), 'sock');
  const server = createHttp2();
  server.on('session', (session) => session.on('error', () => {}));
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    answer(stream as ServerHttp2Stream, String(headers[':path']));
  });
  await listen(t, server, path);
  const cri = openCri(`unix://${path}`);
  t.after(() => cri.close());
  return { cri, path };
}

const frame = (message: Uint8Array, length = message.length): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
};

function reply(stream: ServerHttp2Stream, bytes: Uint8Array, trailers: Record<string, string>): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers));
  stream.end(bytes);
}

const well = (stream: ServerHttp2Stream) =>
  reply(stream, frame(encode('VersionResponse', VERSION)), { 'grpc-status': '0' });

const code = (wanted: string, words: RegExp) => (error: unknown) =>
  error instanceof HeddleError && error.code === wanted && words.test(error.message);

test('a runtime says who it is', async (t) => {
  const { cri } = await runtime(t, well);
  assert.deepEqual(await cri.version(), VERSION);
});

test('nobody listens', async (t) => {
  const cri = openCri(join(folderOf(t), 'none.sock'));
  await assert.rejects(cri.version(), code('CriUnavailable', /ENOENT/));
});

test('the connection breaks in the middle, and the next call has another', async (t) => {
  let calls = 0;
  const { cri } = await runtime(t, (stream) => {
    if (calls++ > 0) return well(stream);
    stream.respond({ ':status': 200 });
    stream.write(Buffer.from([0, 0]), () => stream.session?.destroy());
  });
  await assert.rejects(cri.version(), code('CriUnavailable', /no container runtime answers/));
  assert.deepEqual(await cri.version(), VERSION);
});

test('an answer that never comes is given up, by time and by whoever asked', async (t) => {
  const { path } = await runtime(t, () => {});
  const channel = openChannel(path);
  t.after(() => channel.close());
  await assert.rejects(
    channel.call('/x/y', Buffer.of(), { timeoutMs: 1 }),
    (error) => error instanceof GrpcError && error.status === Status.deadlineExceeded,
  );
  const given = new AbortController();
  const call = channel.call('/x/y', Buffer.of(), { timeoutMs: NEVER, signal: given.signal });
  given.abort(new Error('enough'));
  await assert.rejects(call, /enough/);
});

test('a hundred calls at once share one connection, and hear what broke it', async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error) => void warnings.push(warning);
  process.on('warning', onWarning);
  t.after(() => process.off('warning', onWarning));
  let waiting = 0;
  const { cri } = await runtime(t, (stream) => {
    if (++waiting === 100) stream.session?.destroy();
  });
  const calls = await Promise.allSettled(Array.from({ length: 100 }, () => cri.conditions()));
  for (const one of calls) {
    assert.equal(one.status, 'rejected');
    assert.ok(code('CriUnavailable', /no container runtime answers/)(one.reason), String(one.reason));
  }
  assert.deepEqual(warnings, []);
});

test('one sandbox that cannot be removed, or was by somebody else, keeps none of the others', async () => {
  const removed: string[] = [];
  const cri = {
    listPodSandbox: async () => ['stuck', 'gone', 'one', 'two'].map((id) => ({ id, state: 0, createdAt: 1 })),
    stopPodSandbox: async (id: string) => {
      if (id === 'stuck') throw new Error('it does not stop');
      if (id === 'gone') throw new CriFailure(Status.notFound, 'no such sandbox', undefined);
      await new Promise(setImmediate);
    },
    removePodSandbox: async (id: string) => void removed.push(id),
  };
  await assert.rejects(removeSandboxes(cri, {}), /it does not stop/);
  assert.deepEqual(removed, ['gone', 'one', 'two']);
});

test('a server that takes the connection and says nothing is no runtime', async (t) => {
  const path = join(folderOf(t), 'sock');
  await listen(
    t,
    createServer((socket) => void socket.on('error', () => {}).end('SSH-2.0-x\r\n')),
    path,
  );
  const cri = openCri(path);
  t.after(() => cri.close());
  await assert.rejects(cri.version(), code('CriUnavailable', /no container runtime answers/));
});

test('another version, another protocol and what the runtime refuses are told apart', async (t) => {
  const { cri } = await runtime(t, (stream, path) => {
    if (path.endsWith('/Version'))
      return stream.respond(
        {
          ':status': 200,
          'grpc-status': '12',
          'grpc-message': 'unknown service runtime.v1.RuntimeService',
        },
        { endStream: true },
      );
    if (path.endsWith('/ListContainers')) return stream.respond({ ':status': 404 }, { endStream: true });
    return reply(stream, Buffer.of(), { 'grpc-status': '5', 'grpc-message': 'no%20such%20sandbox %zz' });
  });
  await assert.rejects(cri.version(), code('CriUnsupported', /unknown service runtime\.v1/));
  await assert.rejects(cri.listContainers({}), code('CriUnsupported', /HTTP 404/));
  await assert.rejects(cri.removeContainer('x'), code('CriFailed', /RemoveContainer: no%20such/));
  assert.equal(await cri.podSandbox('x'), undefined);
});

test('what is no message is refused', async (t) => {
  let bytes: Buffer = frame(Buffer.of(), 9);
  const { cri } = await runtime(t, (stream) => reply(stream, bytes, { 'grpc-status': '0' }));
  await assert.rejects(cri.version(), code('CriFailed', /5 bytes are not one message/));
  bytes = frame(Buffer.from([0x12, 0x7f]));
  await assert.rejects(cri.version(), code('CriUnsupported', /no message of the CRI/));
});
