/**
 * A command's streams over a WebSocket whose messages begin with the number of a channel. 0 input, 1 output, 2 errors,
 * 3 how it ended (a Status), 4 the size of the terminal; in v5, 255 N says that channel N has ended.
 */
import { PassThrough, Writable } from 'node:stream';
import type { WebSocketServer } from '../../lib/websocket.ts';
import type { TerminalSize } from '../kubelets.ts';
import { type CommandQuery, type CommandStreams, createSizeReader } from './command.ts';

export const CHANNEL_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];

const Channel = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;

export type AcceptMessages = (onMessage: (message: Buffer) => void) => WebSocketServer;

export function channelStreams(query: CommandQuery, accept: AcceptMessages): CommandStreams {
  const stdin = new PassThrough();
  const sizes = sizeListeners();
  const readSize = createSizeReader(sizes.tell);
  const ws = accept((message) => {
    if (message[0] === Channel.resize) readSize(message.subarray(1));
    if (message[0] === Channel.close && message[1] === Channel.stdin) stdin.end();
    if (message[0] !== Channel.stdin || !query.stdin || stdin.writableEnded) return;
    if (stdin.write(message.subarray(1))) return;
    ws.pause();
    stdin.once('drain', ws.resume);
  });
  ws.closed.addEventListener('abort', () => stdin.end(), { once: true });
  return {
    stdin,
    stdout: channel(ws, Channel.stdout, query.stdout),
    stderr: channel(ws, Channel.stderr, query.stderr),
    onResize: sizes.listen,
    finish(status) {
      ws.send(Buffer.concat([Buffer.of(Channel.status), Buffer.from(JSON.stringify(status))]));
      ws.close();
    },
    abandon: () => ws.close(1011),
    closed: ws.closed,
  };
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

/** Who listens late is told the last size at once. */
export function sizeListeners() {
  let last: TerminalSize | undefined;
  let listener: ((size: TerminalSize) => void) | undefined;
  return {
    tell(size: TerminalSize) {
      last = size;
      listener?.(size);
    },
    listen(to: (size: TerminalSize) => void) {
      listener = to;
      if (last) to(last);
    },
  };
}
