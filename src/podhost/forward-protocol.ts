/**
 * A connection to a port of a pod, over the agent's socket: `POST /port-forward` with `Upgrade: heddle-exec`, then
 * frames as in exec-protocol.ts:
 *
 *   caller → agent   0 start, JSON {namespace, pod, port}; first, and once
 *   agent → caller   8 the pod has taken the connection, or 6 why not
 *   both ways        1 bytes, 2 their end
 *
 * The agent connects from inside of the pod: what listens on 127.0.0.1 or ::1 alone is reached as well.
 */
import type { Duplex } from 'node:stream';
import { encodeFrame, Frame, upgradeOnSocket } from './exec-protocol.ts';
import { framed } from './framed.ts';

export const FORWARD_PATH = '/port-forward';

export interface ForwardStart {
  namespace: string;
  pod: string;
  port: number;
}

/**
 * A connection to a port of a pod of the agent behind `socketPath`.
 * @throws HeddleError what the agent said (`PodNotHere`, `PortForwardFailed`), `SocketCall`
 */
export async function forwardOverSocket(
  socketPath: string,
  start: ForwardStart,
  signal?: AbortSignal,
): Promise<Duplex> {
  signal?.throwIfAborted();
  const { socket, head } = await upgradeOnSocket(socketPath, FORWARD_PATH, signal);
  const opened = Promise.withResolvers<void>();
  const duplex = framed(socket, { head, onOpened: opened.resolve });
  let failure: Error | undefined;
  const onAbort = () => duplex.destroy(signal?.reason as Error);
  duplex.once('error', (error) => (failure = error));
  duplex.once('close', () => {
    signal?.removeEventListener('abort', onAbort);
    opened.reject(failure ?? new Error('the connection was closed'));
  });
  signal?.addEventListener('abort', onAbort, { once: true });
  if (signal?.aborted) onAbort();
  socket.write(encodeFrame(Frame.start, JSON.stringify(start)));
  await opened.promise;
  return duplex;
}
