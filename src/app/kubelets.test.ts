/** An agent that takes its time: what becomes of a caller who goes before there is a connection. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { type Duplex, PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { Kubelets } from '../apiserver/kubelets.ts';
import { testFolder } from '../kernel/test-netns.ts';
import { takeUpgrade } from '../podhost/exec-protocol.ts';
import { createKubelets } from './kubelets.ts';

const ref = { node: 'node-1', namespace: 'shop', pod: 'web' };
const command = () => ({ ...ref, stdout: new PassThrough(), stderr: new PassThrough() });
const calls: Record<string, (kubelets: Kubelets, signal: AbortSignal) => Promise<unknown>> = {
  exec: (kubelets, signal) => kubelets.exec({ ...command(), argv: ['true'], signal }),
  attach: (kubelets, signal) => kubelets.exec({ ...command(), signal }),
  'port-forward': (kubelets, signal) => kubelets.forward(ref, 80, signal),
  'logs -f': (kubelets, signal) => kubelets.log(ref, new URLSearchParams({ follow: 'true' }), signal),
};

for (const [name, call] of Object.entries(calls))
  test(`${name}: who goes before the agent answers is let go, and nothing begins`, {
    timeout: 60_000,
  }, async (t) => {
    const socketPath = join(testFolder(t), 'agent.sock');
    const server = createServer();
    const asked = Promise.withResolvers<[IncomingMessage, Duplex]>();
    server.on('upgrade', (req, socket) => asked.resolve([req, socket]));
    server.on('request', (req) => asked.resolve([req, req.socket]));
    server.listen(socketPath);
    await once(server, 'listening');
    t.after(async () => {
      server.close();
      // Those that were upgraded are nobody's.
      (await asked.promise)[1].destroy();
    });

    const gone = new AbortController();
    const refused = assert.rejects(
      call(
        createKubelets(() => socketPath),
        gone.signal,
      ),
    );
    const [req, socket] = await asked.promise;
    const closed = new Promise((resolve) => socket.once('close', resolve));
    let heard = 0;
    socket.on('data', (bytes: Buffer) => (heard += bytes.length));
    socket.on('error', () => {});
    gone.abort(new Error('gone'));
    // The answer comes all the same, too late.
    if (req.headers.upgrade) takeUpgrade(req, socket);
    await refused;
    await closed;
    assert.equal(heard, 0, 'bytes that the agent was still sent');
  });
