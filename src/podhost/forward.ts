/** The agent's side of forward-protocol.ts. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream';
import { closeNetns, openNetns } from '../kernel/netns.ts';
import { connectTcp, type SocketError } from '../kernel/sockets.ts';
import { HeddleError } from '../lib/errors.ts';
import { encodeFrame, Frame, failedFrame, takeUpgrade } from './exec-protocol.ts';
import { framed } from './framed.ts';
import type { ForwardStart } from './forward-protocol.ts';

export interface ForwardTarget {
  netns: string;
  uid: string;
  /** The connection ends when the pod goes. */
  ended: AbortSignal;
}

export interface ForwardDeps {
  /** @throws HeddleError `PodNotHere` */
  target(asked: ForwardStart): ForwardTarget;
}

/** Milliseconds for a connection within the pod. */
const CONNECT_MS = 10_000;

export function serveForward(req: IncomingMessage, socket: Duplex, head: Buffer, deps: ForwardDeps): void {
  if (!takeUpgrade(req, socket)) return;
  let begun = false;
  const gone = new AbortController();
  const peer: Duplex = framed(socket, {
    head,
    onStart(payload) {
      if (begun) return;
      begun = true;
      // What is thrown at once would be before `peer` is there.
      queueMicrotask(() => void forward(payload, peer, socket, deps, gone.signal));
    },
  });
  peer.once('close', () => gone.abort(new Error('nobody asks any more')));
}

async function forward(
  payload: Buffer,
  peer: Duplex,
  socket: Duplex,
  deps: ForwardDeps,
  signal: AbortSignal,
): Promise<void> {
  try {
    const asked = JSON.parse(payload.toString()) as ForwardStart;
    const target = deps.target(asked);
    const pod = await connectInPod(asked, target, AbortSignal.any([signal, target.ended]));
    pod.allowHalfOpen = true;
    const end = () => pod.destroy();
    target.ended.addEventListener('abort', end, { once: true });
    pod.once('close', () => target.ended.removeEventListener('abort', end));
    if (!socket.destroyed) socket.write(encodeFrame(Frame.opened));
    // Each side ends apart from the other, and takes the other along when it breaks.
    pipeline(peer, pod, () => {});
    pipeline(pod, peer, () => {});
  } catch (error) {
    if (!socket.destroyed) socket.end(failedFrame(error));
    else peer.destroy();
  }
}

/** IPv4 first, as kubelets do. */
async function connectInPod(
  { namespace, pod, port }: ForwardStart,
  { netns: path, uid }: ForwardTarget,
  signal: AbortSignal,
) {
  const netns = openNetns(path);
  const words: string[] = [];
  try {
    for (const [family, host, shown] of [
      [4, '127.0.0.1', '127.0.0.1'],
      [6, '::1', '[::1]'],
    ] as const)
      try {
        return await connectTcp(netns, { host, port, timeoutMs: CONNECT_MS, signal });
      } catch (error) {
        signal.throwIfAborted();
        words.push(`IPv${family}: dial tcp${family} ${shown}:${port}: connect: ${errnoWords(error)}`);
      }
  } finally {
    closeNetns(netns);
  }
  throw new HeddleError(
    'PortForwardFailed',
    `error forwarding port ${port} to pod ${pod}_${namespace}, uid ${uid}: failed to connect to localhost:${port} inside of the pod, ${words.join(', ')}`,
    { hint: 'nothing in the pod listens on that port' },
  );
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ETIMEDOUT: 'connection timed out',
  EADDRNOTAVAIL: 'cannot assign requested address',
  ENETUNREACH: 'network is unreachable',
};

const errnoWords = (error: unknown): string => {
  const { code, message } = error as SocketError;
  return WORDS[code] ?? message;
};
