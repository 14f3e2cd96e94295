/**
 * A command in a container, for kubectl: a WebSocket whose messages begin with the number of a channel. 0 input,
 * 1 output, 2 errors, 3 how it ended (a Status), 4 the size of a terminal; in v5, 255 N says that channel N has ended.
 */
import { PassThrough, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { errorText } from '../../lib/errors.ts';
import type { WebSocketServer } from '../../lib/websocket.ts';
import type { Kubelets, PodRef } from '../kubelets.ts';
import { isTrue } from '../request-info.ts';

export const CHANNEL_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];

const Channel = { stdin: 0, stdout: 1, stderr: 2, status: 3, close: 255 } as const;

export interface PodExecDeps {
  kubelets: Kubelets;
  ref: PodRef;
  query: URLSearchParams;
  stopping: AbortSignal;
}

/** Returns at once; the command and the connection go on. */
export function podExec(
  deps: PodExecDeps,
  accept: (onMessage: (message: Buffer) => void) => WebSocketServer,
): void {
  const { query, ref } = deps;
  const wantsInput = isTrue(query.get('stdin'));
  const stdin = new PassThrough();
  const ws = accept((message) => {
    if (message[0] === Channel.close && message[1] === Channel.stdin) stdin.end();
    if (message[0] !== Channel.stdin || !wantsInput || stdin.writableEnded) return;
    if (stdin.write(message.subarray(1))) return;
    ws.pause();
    stdin.once('drain', ws.resume);
  });
  ws.closed.addEventListener('abort', () => stdin.end(), { once: true });
  const container = query.get('container');
  const stdout = channel(ws, Channel.stdout, isTrue(query.get('stdout')));
  const stderr = channel(ws, Channel.stderr, isTrue(query.get('stderr')));
  deps.kubelets
    .exec({
      ...ref,
      ...(container ? { container } : {}),
      argv: query.getAll('command'),
      ...(wantsInput ? { stdin } : {}),
      stdout,
      stderr,
      signal: AbortSignal.any([ws.closed, deps.stopping]),
    })
    .then(exitStatus, failed)
    .then(async (status) => {
      // All that it printed comes before how it ended.
      await Promise.all([stdout, stderr].map((stream) => finished(stream.end())));
      ws.send(Buffer.concat([Buffer.of(Channel.status), Buffer.from(JSON.stringify(status))]));
      ws.close();
    })
    .catch(() => ws.close(1011));
}

function channel(ws: WebSocketServer, number: number, wanted: boolean): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const sent = !wanted || ws.send(Buffer.concat([Buffer.of(number), chunk]));
      if (sent) done();
      else ws.onceDrained(done);
    },
  });
}

const exitStatus = (code: number) =>
  code === 0
    ? { metadata: {}, status: 'Success' }
    : {
        metadata: {},
        status: 'Failure',
        reason: 'NonZeroExitCode',
        message: `command terminated with non-zero exit code: exit status ${code}`,
        details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
      };

const failed = (error: unknown) => ({
  metadata: {},
  status: 'Failure',
  reason: 'InternalError',
  code: 500,
  message: errorText(error),
});
