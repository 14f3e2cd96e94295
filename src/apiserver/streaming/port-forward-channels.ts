/**
 * Port forwarding of client libraries (`v4.channel.k8s.io`): one connection for each port that the query names, the
 * Nth with the channels 2N for data and 2N+1 for why it failed. The first message of each channel is the port, two
 * bytes, little endian. Nothing says that one direction has ended.
 */
import { Duplex, Writable } from 'node:stream';
import { badRequest } from '../failure.ts';
import type { WebSocketServer } from '../../lib/websocket.ts';
import { type ForwardDeps, forwardPair, portOf } from './port-forward.ts';

export const FORWARD_CHANNELS = 'v4.channel.k8s.io';

/** As many as fit into the byte of a channel. */
const MAX_PORTS = 127;

/** @throws ApiFailure 400 */
export function portsOfQuery(query: URLSearchParams): number[] {
  const words = ['ports', 'port'].flatMap((name) => query.getAll(name)).flatMap((text) => text.split(','));
  if (words.length === 0) throw badRequest('query parameter "ports" is required');
  if (words.length > MAX_PORTS) throw badRequest(`${words.length} ports: at most ${MAX_PORTS} are taken`);
  return words.map((word) => portOf(word.trim()));
}

export function channelPortForward(
  deps: ForwardDeps,
  ports: readonly number[],
  accept: (onMessage: (message: Buffer) => void) => WebSocketServer,
): void {
  const data: Duplex[] = [];
  /** Channels whose reader is behind: nothing is read for any, as they share the connection. */
  const full = new Set<number>();
  const ws = accept((message) => {
    const channel = message[0] ?? 1;
    const to = data[channel / 2];
    if (!to || message.length < 2 || to.destroyed) return;
    if (to.push(message.subarray(1))) return;
    full.add(channel);
    ws.pause();
  });
  let open = ports.length;
  for (const [i, port] of ports.entries()) {
    const onRoom = () => {
      if (full.delete(2 * i) && full.size === 0) ws.resume();
    };
    const one = new Duplex({
      allowHalfOpen: true,
      read: onRoom,
      write: (chunk: Buffer, _encoding, done) => send(ws, 2 * i, chunk, done),
    });
    one.once('close', onRoom);
    data.push(one);
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16LE(port);
    for (const channel of [2 * i, 2 * i + 1]) ws.send(Buffer.concat([Buffer.of(channel), bytes]));
    const error = channelWritable(ws, 2 * i + 1);
    error.once('finish', () => {
      open--;
      if (open === 0) ws.close();
    });
    forwardPair(deps, { port, data: one, error });
  }
  ws.closed.addEventListener('abort', () => {
    for (const one of data) one.destroy();
  });
  const onStop = () => ws.close(1001);
  deps.stopping.addEventListener('abort', onStop, { once: true });
  ws.closed.addEventListener('abort', () => deps.stopping.removeEventListener('abort', onStop));
}

const channelWritable = (ws: WebSocketServer, number: number): Writable =>
  new Writable({ write: (chunk: Buffer, _encoding, done) => send(ws, number, chunk, done) });

function send(ws: WebSocketServer, number: number, chunk: Buffer, done: () => void): void {
  if (ws.send(Buffer.concat([Buffer.of(number), chunk]))) done();
  else ws.onceDrained(done);
}
