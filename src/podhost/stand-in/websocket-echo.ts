/** A WebSocket of a stand-in (RFC 6455), accepted and served. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { acceptWebSocket } from '../../lib/websocket.ts';
import type { Connection } from './connection.ts';
import { WHO_AM_I } from './types.ts';

interface Upgrading {
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly key: string;
  readonly connection: Connection;
}

/** Messages come back as they were; WHO_AM_I is answered with an Echo. The first protocol offered is taken. */
export function serveWebSocket(req: IncomingMessage, { socket, head, key, connection }: Upgrading): void {
  const [protocol = ''] = (req.headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
  const peer = acceptWebSocket(socket, {
    key,
    protocol: /^[\w.+-]*$/.test(protocol) ? protocol : '',
    head,
    onMessage(payload, kind) {
      const asked = payload.toString('latin1').trimEnd() === WHO_AM_I.trimEnd();
      const answer = asked
        ? Buffer.from(
            JSON.stringify({ ...connection.echo('WebSocket'), path: req.url, headers: { ...req.headers } }),
          )
        : payload;
      if (peer.send(answer, asked ? 'text' : kind)) return;
      peer.pause();
      peer.onceDrained(() => peer.resume());
    },
  });
}
