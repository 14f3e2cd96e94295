/** A command in a container, over whatever carries its streams: command-channels.ts or command-spdy.ts. */
import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { errorText } from '../../lib/errors.ts';
import { badRequest } from '../failure.ts';
import type { CommandRequest, Kubelets, PodRef, TerminalSize } from '../kubelets.ts';
import { isTrue } from '../request-info.ts';

/** What the client asks for in the query. */
export interface CommandQuery {
  /** Absent: attach. */
  readonly argv?: string[];
  readonly container?: string;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

export interface CommandStreams {
  readonly stdin: Readable;
  /** What the client did not ask for is thrown away. */
  readonly stdout: Writable;
  readonly stderr: Writable;
  onResize(listener: (size: TerminalSize) => void): void;
  /** Says how it ended, then closes the connection. */
  finish(status: object): void;
  /** The connection is of no use any more. */
  abandon(): void;
  /** Aborted when the client is gone. */
  readonly closed: AbortSignal;
}

/** @throws ApiFailure 400 as Kubernetes says it */
export function commandQuery(subresource: string, query: URLSearchParams): CommandQuery {
  const flag = (name: string) => isTrue(query.get(name));
  const tty = flag('tty');
  const container = query.get('container');
  const asked = {
    ...(container ? { container } : {}),
    stdin: flag('stdin'),
    stdout: flag('stdout'),
    // A terminal has one way out for both.
    stderr: flag('stderr') && !tty,
    tty,
  };
  if (!asked.stdin && !asked.stdout && !asked.stderr)
    throw badRequest('you must specify at least 1 of stdin, stdout, stderr');
  if (subresource === 'attach') return asked;
  const argv = query.getAll('command');
  if (argv.length === 0) throw badRequest('you must specify at least 1 command');
  return { ...asked, argv };
}

export interface CommandDeps {
  kubelets: Kubelets;
  ref: PodRef;
  query: CommandQuery;
  stopping: AbortSignal;
  onFailure?(): void;
}

/** Returns at once; the command and the connection go on. */
export function runCommand(deps: CommandDeps, streams: CommandStreams): void {
  const { kubelets, ref, query, stopping } = deps;
  const { stdout, stderr } = streams;
  const { container, argv } = query;
  const request: CommandRequest = {
    ...ref,
    ...(container ? { container } : {}),
    ...(argv ? { argv } : {}),
    ...(query.stdin ? { stdin: streams.stdin } : {}),
    ...(query.tty ? { terminal: { onResize: streams.onResize } } : {}),
    stdout,
    stderr,
    signal: AbortSignal.any([streams.closed, stopping]),
  };
  kubelets
    .exec(request)
    .then(exitStatus, (error: unknown) => {
      if (!request.signal.aborted) deps.onFailure?.();
      return failed(error);
    })
    .then(async (status) => {
      // All that it printed comes before how it ended.
      await Promise.all([stdout, stderr].map((stream) => finished(stream.end(), { readable: false })));
      streams.finish(status);
    })
    .catch(() => streams.abandon());
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

/** Longest text that a size is taken from, bytes. */
const MAX_SIZE_TEXT = 1024;

/** Feeds on texts such as `{"Width":80,"Height":24}`, one after the other; what is none is passed over. */
export function createSizeReader(onSize: (size: TerminalSize) => void): (chunk: Buffer) => void {
  let rest = '';
  return (chunk) => {
    rest = (rest + chunk.toString('latin1')).slice(-MAX_SIZE_TEXT);
    for (let end = rest.indexOf('}'); end >= 0; end = rest.indexOf('}')) {
      const size = parseSize(rest.slice(0, end + 1));
      rest = rest.slice(end + 1);
      if (size) onSize(size);
    }
  };
}

function parseSize(text: string): TerminalSize | undefined {
  const cells = (name: string) => {
    const found = Number(new RegExp(`"${name}"\\s*:\\s*(\\d{1,5})\\b`).exec(text)?.[1]);
    return found > 0 && found < 65_536 ? found : undefined;
  };
  const [columns, rows] = [cells('Width'), cells('Height')];
  return columns && rows ? { columns, rows } : undefined;
}
