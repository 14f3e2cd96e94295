/** A listener that tells HTTP/1.1, HTTP/2 and raw TCP apart on one port. */
import type { Socket } from 'node:net';
import type { Connection } from './connection.ts';
import type { HttpEcho } from './http-echo.ts';
import { sniff } from './sniff.ts';
import { WHO_AM_I } from './types.ts';

export interface TcpEchoDeps {
  http: HttpEcho;
  onRaw(connection: Connection): void;
  /** Milliseconds after which undecided bytes are echoed as they are. Default 1,000. */
  sniffMs?: number;
  /** Milliseconds without a byte until a raw connection is closed. Default 300,000. */
  idleMs?: number;
}

/** Takes over an accepted connection. */
export function serveTcp(socket: Socket, connection: Connection, deps: TcpEchoDeps): void {
  let received: Buffer = Buffer.alloc(0);
  let timer: NodeJS.Timeout | undefined;
  socket.on('error', () => socket.destroy());
  socket.setNoDelay(true);
  socket.setTimeout(deps.idleMs ?? 300_000, () => socket.destroy());

  function decide(kind: 'http1' | 'http2' | 'raw'): void {
    clearTimeout(timer);
    socket.off('data', onData);
    socket.off('end', onEnd);
    if (kind === 'raw') return echo(socket, received, connection, deps);
    socket.pause();
    socket.setTimeout(0);
    socket.unshift(received);
    deps.http.accept(kind, socket, connection);
    // An HTTP/2 session takes the bytes back by itself; flowing they would be lost to it.
    if (kind === 'http1') socket.resume();
  }

  function onData(chunk: Buffer): void {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    const kind = sniff(received);
    if (kind !== 'more') decide(kind);
    else timer ??= setTimeout(() => decide('raw'), deps.sniffMs ?? 1000);
  }

  // A client that closes its half before the protocol is clear gets its bytes back.
  function onEnd(): void {
    clearTimeout(timer);
    socket.off('data', onData);
    if (received.length > 0) deps.onRaw(connection);
    socket.end(received);
  }

  socket.on('close', () => clearTimeout(timer));
  socket.on('data', onData);
  socket.once('end', onEnd);
}

function echo(socket: Socket, first: Buffer, connection: Connection, deps: TcpEchoDeps): void {
  deps.onRaw(connection);
  if (first.toString('latin1') === WHO_AM_I) socket.write(`${JSON.stringify(connection.echo('TCP'))}\n`);
  else socket.write(first);
  socket.pipe(socket);
}
