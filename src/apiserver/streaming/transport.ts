/** What carries SPDY: the connection itself after an upgrade, or a WebSocket as a tunnel. */
import type { Duplex } from 'node:stream';
import { farewell } from '../../lib/farewell.ts';
import type { SpdyTransport } from '../../lib/spdy/session.ts';
import type { WebSocketServer } from '../../lib/websocket.ts';

export interface Carrier {
  onData(chunk: Buffer): void;
  /** Nothing can come or go any more. */
  onGone(): void;
}

/** `head`: bytes that came with the request. */
export function socketTransport(socket: Duplex, head: Buffer, carrier: Carrier): SpdyTransport {
  const gone = () => carrier.onGone();
  socket.on('data', (chunk: Buffer) => carrier.onData(chunk));
  socket.on('end', gone);
  socket.on('close', gone);
  socket.on('error', () => socket.destroy());
  if (head.length > 0) queueMicrotask(() => carrier.onData(head));
  return {
    send: (bytes) => socket.writableEnded || socket.destroyed || socket.write(bytes),
    onceDrained(go) {
      if (!socket.writableNeedDrain || socket.destroyed) return go();
      const once = () => {
        socket.off('drain', once);
        socket.off('close', once);
        go();
      };
      socket.on('drain', once);
      socket.on('close', once);
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    close() {
      if (!socket.writableEnded) farewell(socket);
    },
  };
}

/** `accept` begins the WebSocket with who gets its messages. */
export function tunnelTransport(
  accept: (onMessage: (message: Buffer) => void) => WebSocketServer,
  carrier: Carrier,
): SpdyTransport {
  const ws = accept((message) => carrier.onData(message));
  ws.closed.addEventListener('abort', () => carrier.onGone(), { once: true });
  return {
    send: ws.send,
    onceDrained: ws.onceDrained,
    pause: ws.pause,
    resume: ws.resume,
    close: () => ws.close(),
  };
}
