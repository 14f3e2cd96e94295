/** A new program in a pod, between its start and its end. Its first process is native/heddle-pause, which watches it. */
import type { ChildProcess } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { closeNetns, openNetns } from '../kernel/netns.ts';
import { spawnIn } from '../kernel/spawn.ts';
import { createBrake } from '../lib/brake.ts';
import { HeddleError } from '../lib/errors.ts';
import type { Session } from './exec.ts';
import { type ExecStart, encodeFrame, Frame, failedFrame, parseSize } from './exec-protocol.ts';

export interface CommandTarget {
  netns: string;
  /** The whole command line, jail and all. It is hung up on when descriptor 3 is closed. */
  argv: string[];
  /** Default: PATH alone. */
  env?: Readonly<Record<string, string>>;
  /** The command is killed when the pod goes. */
  ended: AbortSignal;
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
/** Milliseconds for a program that was hung up on, several times what heddle-pause gives it. */
const HUNG_UP_MS = 15_000;

export function startCommand(target: CommandTarget, asked: ExecStart, socket: Duplex): Session {
  const child = spawn(target);
  const control = child.stdio[3] as Duplex | null;
  const { stdin } = child;
  connect(child, socket, target.argv[0]!);
  for (const stream of [stdin, control]) stream?.on('error', () => {});
  const kill = () => child.kill('SIGKILL');
  target.ended.addEventListener('abort', kill, { once: true });
  child.once('close', () => {
    target.ended.removeEventListener('abort', kill);
    control?.destroy();
  });
  if (!asked.stdin && !asked.tty) stdin?.end();
  return {
    take(type, payload, onRoom) {
      if (type === Frame.stdin) return feed(stdin, payload, onRoom);
      if (type === Frame.stdinEnd && asked.stdin) stdin?.end();
      if (type === Frame.resize && control?.writable) control.write(sizeMessage(payload));
      return true;
    },
    hangUp() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      control?.destroy();
      stdin?.destroy();
      const timer = setTimeout(kill, HUNG_UP_MS);
      child.once('exit', () => {
        clearTimeout(timer);
        // Something of it may live on in the container, and have these open.
        for (const stream of child.stdio) stream?.destroy();
      });
    },
  };
}

function spawn({ netns: path, argv, env }: CommandTarget): ChildProcess {
  const netns = openNetns(path);
  try {
    return spawnIn({ argv, netns, ...(env ? { env } : {}), stdio: ['pipe', 'pipe', 'pipe', 'pipe'] });
  } finally {
    closeNetns(netns);
  }
}

function feed(stdin: ChildProcess['stdin'], payload: Buffer, onRoom: () => void): boolean {
  if (!stdin?.writable) return true;
  const waits = stdin.writableNeedDrain;
  if (stdin.write(payload)) return true;
  if (waits) return false;
  const go = () => {
    stdin.off('drain', go);
    stdin.off('close', go);
    onRoom();
  };
  stdin.on('drain', go);
  stdin.on('close', go);
  return false;
}

/** See native/pause-attend.c. */
function sizeMessage(payload: Buffer): Buffer {
  const { columns, rows } = parseSize(payload);
  const message = Buffer.alloc(5, 'R');
  message.writeUInt16BE(columns, 1);
  message.writeUInt16BE(rows, 3);
  return message;
}

function connect(child: ChildProcess, socket: Duplex, program: string): void {
  const relay = (stream: Readable | null, type: number) => {
    if (!stream) return;
    const brake = createBrake({ stop: () => stream.pause(), go: () => stream.resume() });
    stream.on('data', (chunk: Buffer) => {
      if (socket.writable) brake.write(socket, encodeFrame(type, chunk));
    });
  };
  relay(child.stdout, Frame.stdout);
  relay(child.stderr, Frame.stderr);
  child.on('error', (cause) => {
    const error = new HeddleError('ExecFailed', `cannot start ${program}`, {
      hint: 'the Debian package bubblewrap is missing',
      cause,
    });
    if (socket.writable) socket.end(failedFrame(error));
  });
  child.on('close', (code, signal) => {
    const exit = code ?? 128 + (NUMBERS[signal ?? ''] ?? 0);
    if (socket.writable) socket.end(encodeFrame(Frame.exit, String(exit)));
  });
}
