/**
 * Port forwarding as kubectl speaks it (`portforward.k8s.io`): for each connection two streams of SPDY with the
 * headers `streamtype` (data or error), `port` and `requestid`, which tells what belongs together.
 */
import type { Headers } from '../../lib/spdy/headers.ts';
import { createSpdySession, type SpdyTransport } from '../../lib/spdy/session.ts';
import type { SpdyStream } from '../../lib/spdy/stream.ts';
import { type ForwardDeps, forwardPair, portOf } from './port-forward.ts';
import type { Carrier } from './transport.ts';

export const PORT_FORWARD_PROTOCOL = 'portforward.k8s.io';
export const TUNNEL_PROTOCOL = `SPDY/3.1+${PORT_FORWARD_PROTOCOL}`;

/** Milliseconds that a stream waits for the other of its pair. */
const PAIR_MS = 30_000;

interface Half {
  data?: SpdyStream;
  error?: SpdyStream;
  port: number;
  late: NodeJS.Timeout;
}

export function spdyPortForward(deps: ForwardDeps, carry: (carrier: Carrier) => SpdyTransport): void {
  const halves = new Map<string, Half>();
  const onStop = () => session.close();
  const session = createSpdySession({
    transport: carry({ onData: (chunk) => session.feed(chunk), onGone: () => session.close() }),
    accept(headers, id) {
      const type = headers.get('streamtype');
      if (type !== 'data' && type !== 'error') throw new Error(`streamtype ${type}: expected data or error`);
      const port = portOf(headers.get('port') ?? '');
      return (stream) => add(requestOf(headers, id, type), { type, port, stream });
    },
    onEnd(error) {
      if (error) deps.log.info('a port-forward session ended', { pod: deps.ref.pod, error: error.message });
      deps.stopping.removeEventListener('abort', onStop);
      for (const { late } of halves.values()) clearTimeout(late);
      halves.clear();
    },
  });
  deps.stopping.addEventListener('abort', onStop, { once: true });

  function add(
    request: string,
    { type, port, stream }: { type: 'data' | 'error'; port: number; stream: SpdyStream },
  ): void {
    const half = halves.get(request) ?? { port, late: setTimeout(() => giveUp(request), PAIR_MS) };
    if (half[type]) {
      stream.destroy();
      return;
    }
    half[type] = stream;
    halves.set(request, half);
    // One that the client takes back has no other to wait for.
    stream.once('close', () => {
      if (halves.get(request)?.[type] === stream) giveUp(request);
    });
    // Clients say nothing on it; its end is what is waited for.
    if (type === 'error') stream.resume();
    const { data, error } = half;
    if (!data || !error) return;
    clearTimeout(half.late);
    halves.delete(request);
    forwardPair(deps, { port: half.port, data, error });
  }

  function giveUp(request: string): void {
    const half = halves.get(request);
    halves.delete(request);
    clearTimeout(half?.late);
    half?.data?.destroy();
    half?.error?.end(`timed out waiting for the streams of request ${request}`);
  }
}

/** Old clients send none: the error stream comes first, and the data stream has the next odd number. */
const requestOf = (headers: Headers, id: number, type: 'data' | 'error'): string =>
  headers.get('requestid') || `#${type === 'error' ? id : id - 2}`;
