/** The agent's side of exec-protocol.ts. */
import type { ChildProcess } from 'node:child_process';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { closeNetns, openNetns } from '../kernel/netns.ts';
import { spawnIn } from '../kernel/spawn.ts';
import { HeddleError } from '../lib/errors.ts';
import {
  createFrameReader,
  type ExecStart,
  encodeFrame,
  Frame,
  failedFrame,
  takeUpgrade,
} from './exec-protocol.ts';

export interface ExecTarget {
  netns: string;
  /** The whole command line, jail and all. */
  argv: string[];
  /** Default: PATH alone. */
  env?: Readonly<Record<string, string>>;
  /** The command is killed when the pod goes. */
  ended: AbortSignal;
}

export interface ExecDeps {
  /** @throws HeddleError `PodNotHere` */
  target(asked: ExecStart): Promise<ExecTarget>;
}

/** Signals that end programs, for an exit code as shells give it. */
const NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGTERM: 15,
};

export function serveExec(req: IncomingMessage, socket: Duplex, head: Buffer, deps: ExecDeps): void {
  if (!takeUpgrade(req, socket)) return;
  let child: ChildProcess | undefined;
  let begun = false;
  /** What came before the command had started. */
  const early: [type: number, payload: Buffer][] = [];
  const input = (type: number, payload: Buffer) => {
    if (type === Frame.stdin && child?.stdin) feed(child.stdin, payload, socket);
    else if (type === Frame.stdinEnd) child?.stdin?.end();
  };
  const read = createFrameReader((type, payload) => {
    if (type === Frame.start && !begun) {
      begun = true;
      socket.pause();
      start(JSON.parse(payload.toString()) as ExecStart, socket, deps)
        .then(
          (started) => {
            child = started;
            if (socket.destroyed) child.kill('SIGKILL');
            for (const [kind, bytes] of early.splice(0)) input(kind, bytes);
          },
          (error: unknown) => socket.end(failedFrame(error)),
        )
        .finally(() => socket.resume());
    } else if (child) input(type, payload);
    else early.push([type, payload]);
  });
  const onData = (chunk: Buffer) => {
    try {
      read(chunk);
    } catch (error) {
      socket.end(failedFrame(error));
      child?.kill('SIGKILL');
    }
  };
  socket.on('data', onData);
  socket.on('error', () => socket.destroy());
  // bwrap dies, and with it the first process of the command's pid namespace, and so all of them.
  socket.on('close', () => child?.kill('SIGKILL'));
  socket.on('end', () => child?.kill('SIGKILL'));
  if (head.length > 0) onData(head);
}

function feed(stdin: NonNullable<ChildProcess['stdin']>, payload: Buffer, socket: Duplex): void {
  if (stdin.destroyed || stdin.write(payload)) return;
  socket.pause();
  const go = () => socket.resume();
  stdin.once('drain', go);
  stdin.once('close', go);
}

async function start(asked: ExecStart, socket: Duplex, deps: ExecDeps): Promise<ChildProcess> {
  if (!Array.isArray(asked.argv) || asked.argv.length === 0)
    throw new HeddleError('ExecFailed', 'no command was given', { hint: 'heddle exec POD -- CMD [ARG…]' });
  const { netns: path, argv, env, ended } = await deps.target(asked);
  const netns = openNetns(path);
  try {
    const child = spawnIn({ argv, netns, ...(env ? { env } : {}), stdio: ['pipe', 'pipe', 'pipe'] });
    connect(child, socket, argv[0]!);
    const kill = () => child.kill('SIGKILL');
    ended.addEventListener('abort', kill, { once: true });
    child.once('close', () => ended.removeEventListener('abort', kill));
    return child;
  } finally {
    closeNetns(netns);
  }
}

function connect(child: ChildProcess, socket: Duplex, program: string): void {
  const relay = (stream: NodeJS.ReadableStream | null, type: number) =>
    stream?.on('data', (chunk: Buffer) => {
      if (!socket.writable || socket.write(encodeFrame(type, chunk))) return;
      stream.pause();
      socket.once('drain', () => stream.resume());
    });
  relay(child.stdout, Frame.stdout);
  relay(child.stderr, Frame.stderr);
  child.stdin?.on('error', () => {});
  child.on('error', (cause) => {
    const error = new HeddleError('ExecFailed', `cannot start ${program}`, {
      hint: 'the Debian package bubblewrap is missing',
      cause,
    });
    socket.end(failedFrame(error));
  });
  child.on('close', (code, signal) => {
    const exit = code ?? 128 + (NUMBERS[signal ?? ''] ?? 0);
    if (socket.writable) socket.end(encodeFrame(Frame.exit, String(exit)));
  });
}
