/**
 * A command's streams as streams of SPDY, whose headers name them (`streamtype`), for clients that do not speak
 * WebSockets. The command starts once all are there that the query asks for.
 */
import { PassThrough, Writable } from 'node:stream';
import { createSpdySession, type SpdyTransport } from '../../lib/spdy/session.ts';
import type { SpdyStream } from '../../lib/spdy/stream.ts';
import { type CommandQuery, type CommandStreams, createSizeReader } from './command.ts';
import { sizeListeners } from './command-channels.ts';
import type { Carrier } from './transport.ts';

export const COMMAND_PROTOCOLS = ['v4.channel.k8s.io'];

/** Milliseconds that a client has to open its streams. */
const OPEN_MS = 30_000;

const wantedOf = (query: CommandQuery): string[] => [
  'error',
  ...(query.stdin ? ['stdin'] : []),
  ...(query.stdout ? ['stdout'] : []),
  ...(query.stderr ? ['stderr'] : []),
  ...(query.tty ? ['resize'] : []),
];

/** Calls `begin` once, if the client does its part. */
export function spdyCommand(
  query: CommandQuery,
  carry: (carrier: Carrier) => SpdyTransport,
  begin: (streams: CommandStreams) => void,
): void {
  const wanted = wantedOf(query);
  const found = new Map<string, SpdyStream>();
  const gone = new AbortController();
  const session = createSpdySession({
    transport: carry({
      onData: (chunk) => session.feed(chunk),
      onGone: () => session.close(),
    }),
    accept(headers) {
      const type = headers.get('streamtype') ?? '';
      if (!wanted.includes(type) || found.has(type))
        throw new Error(`stream type "${type}" is unknown, or there already`);
      return (stream) => {
        found.set(type, stream);
        if (found.size === wanted.length) start();
      };
    },
    onEnd: () => {
      clearTimeout(late);
      gone.abort(new Error('the connection was closed'));
    },
  });
  const late = setTimeout(
    () => session.close(new Error('timed out waiting for the client to create streams')),
    OPEN_MS,
  );

  function start(): void {
    clearTimeout(late);
    const sizes = sizeListeners();
    found.get('resize')?.on('data', createSizeReader(sizes.tell));
    const stdout = found.get('stdout');
    const stderr = found.get('stderr');
    const error = found.get('error')!;
    for (const one of [stdout, stderr, error]) one?.resume();
    begin({
      stdin: found.get('stdin') ?? new PassThrough().end(),
      stdout: stdout ?? nowhere(),
      stderr: stderr ?? nowhere(),
      onResize: sizes.listen,
      finish(status) {
        error.end(JSON.stringify(status), () => session.close());
      },
      abandon: () => session.close(),
      closed: gone.signal,
    });
  }
}

const nowhere = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() });
