/** The agent's side of native/heddle-pause: starts a pod's holder, or finds the one that an earlier agent started. */
import { rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { type Socket, connect } from 'node:net';
import { dirname } from 'node:path';
import { createCgroup, killCgroup } from '../../kernel/cgroup.ts';
import { closeNetns, openNetns } from '../../kernel/netns.ts';
import { spawnIn } from '../../kernel/spawn.ts';
import type { Clock } from '../../lib/clock.ts';
import { HeddleError } from '../../lib/errors.ts';

/** What the holder knows of a container that it started. */
export type Held =
  | { state: 'running'; pid: number; startedAt: number }
  | {
      state: 'ended';
      code: number;
      startedAt: number;
      finishedAt: number;
      /** False: its program was never reached; `words` say why. */
      reached: boolean;
      words: string;
    };

export interface StartRequest {
  /** `<container>.<attempt>`; one that is known is not started again. */
  id: string;
  log: string;
  /** Absolute path. */
  cgroup: string;
  argv: readonly string[];
  /** It has standard input; it is closed after the first who gave some; it runs under `inside --tty`. */
  input?: { stdin: boolean; once: boolean; tty: boolean };
}

export interface Pause {
  get(id: string): Held | undefined;
  /** Resolves when it was handed over. */
  start(request: StartRequest): void | Promise<void>;
  kill(id: string, signal: number): void;
  forget(id: string): void;
  /** Resolves when the holder has told of the end of `id`. Rejects with the reason when it is lost, or `signal` aborts. */
  ended(id: string, signal: AbortSignal): Promise<Held & { state: 'ended' }>;
  /** Resolves when `id` runs or has ended. */
  begun(id: string, signal: AbortSignal): Promise<Held>;
  /** Aborted when the holder is gone, with the reason. */
  readonly lost: AbortSignal;
  /** Lets go; the holder stays. */
  close(): void;
}

export interface PauseOptions {
  /** heddle-pause */
  program: string;
  socketPath: string;
  hostname: string;
  /** Bind path of the pod's network namespace. */
  netns: string;
  /** The pod's cgroup; all of it is killed before a new holder starts. */
  cgroup: string;
  /** Cgroup of the holder itself, below `cgroup`. */
  ownCgroup: string;
  /** `path,options` of each volume in memory. */
  memory: readonly string[];
  /** The pod's containers see each other's processes: the first of the pod's ids, 0 where they have the machine's. */
  share?: number | undefined;
  clock: Clock;
}

const START_MS = 30_000;

/** The holder that runs, if one does. */
export async function findPause(socketPath: string): Promise<Pause | undefined> {
  const socket = await dial(socketPath).catch(() => undefined);
  return socket && attach(socket);
}

/** @throws HeddleError `PauseFailed` */
export async function startPause(options: PauseOptions, signal: AbortSignal): Promise<Pause> {
  const { socketPath, clock } = options;
  await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 });
  rmSync(socketPath, { force: true });
  // What a holder that was killed may have left.
  killCgroup(options.cgroup);
  createCgroup(options.ownCgroup);
  const ended = spawnHolder(options);
  const deadline = clock.monotonic() + START_MS;
  for (;;) {
    signal.throwIfAborted();
    const socket = await dial(socketPath).catch(() => undefined);
    if (socket) return attach(socket);
    const why = ended();
    if (why !== undefined || clock.monotonic() > deadline)
      throw new HeddleError('PauseFailed', `the holder of the pod does not come up: ${why ?? 'no answer'}`, {
        hint: 'is build/heddle-pause built (make -C native)?',
      });
    await clock.sleep(5, signal);
  }
}

/** What it said when it ended; undefined while it runs. */
function spawnHolder(options: PauseOptions): () => string | undefined {
  const netns = openNetns(options.netns);
  try {
    const share = options.share === undefined ? [] : ['--share', String(options.share)];
    const child = spawnIn({
      argv: [options.program, 'hold', options.socketPath, options.hostname, ...share, ...options.memory],
      netns,
      cgroup: options.ownCgroup,
      stdio: ['ignore', 'ignore', 'pipe'],
      detached: true,
    });
    let words = '';
    let end: string | undefined;
    child.stderr?.on('data', (chunk: Buffer) => (words += chunk.toString().slice(0, 500)));
    child.once('error', (error) => (end = error.message));
    child.once('exit', (code, signal) => (end = words.trim() || `it ended with ${code ?? signal}`));
    child.unref();
    (child.stderr as (Socket & NodeJS.ReadableStream) | null)?.unref();
    return () => end;
  } finally {
    closeNetns(netns);
  }
}

function dial(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.once('connect', () => resolve(socket));
  });
}

/** Resolves when all that the holder knows has come. */
async function attach(socket: Socket): Promise<Pause> {
  const known = new Map<string, Held>();
  const waiters = new Set<() => void>();
  const lost = new AbortController();
  const ready = Promise.withResolvers<void>();
  let rest = '';
  const wake = () => {
    for (const waiter of waiters) waiter();
  };
  const gone = () => {
    const reason = new HeddleError('PauseFailed', 'the holder of the pod is gone');
    lost.abort(reason);
    ready.reject(reason);
    wake();
  };
  socket.setEncoding('utf8');
  socket.removeAllListeners('error');
  socket.on('error', () => socket.destroy());
  socket.on('close', gone);
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === 'ready') ready.resolve();
      else {
        const [id, held] = parseLine(line);
        known.set(id, held);
      }
    }
    wake();
  });
  await ready.promise;

  function until<T>(look: () => T | undefined, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const done = () => {
        waiters.delete(check);
        signal.removeEventListener('abort', check);
      };
      const check = () => {
        const found = look();
        if (found === undefined && !signal.aborted && !lost.signal.aborted) return;
        done();
        if (found !== undefined) resolve(found);
        else reject((signal.aborted ? signal.reason : lost.signal.reason) as Error);
      };
      waiters.add(check);
      signal.addEventListener('abort', check, { once: true });
      check();
    });
  }

  return {
    get: (id) => known.get(id),
    start({ id, log, cgroup, argv, input }) {
      const flags = `${input?.stdin ? 'i' : ''}${input?.once ? 'o' : ''}${input?.tty ? 't' : ''}`;
      const payload = Buffer.from([log, cgroup, ...argv].map((word) => `${word}\0`).join(''));
      socket.write(`start ${id} ${payload.length} ${flags}\n`);
      socket.write(payload);
    },
    kill: (id, signal) => void socket.write(`kill ${id} ${signal}\n`),
    forget(id) {
      known.delete(id);
      socket.write(`forget ${id}\n`);
    },
    ended: (id, signal) =>
      until(() => {
        const held = known.get(id);
        return held?.state === 'ended' ? held : undefined;
      }, signal),
    begun: (id, signal) => until(() => known.get(id), signal),
    lost: lost.signal,
    close() {
      socket.off('close', gone);
      socket.destroy();
    },
  };
}

/** See native/pause-hold.c. */
export function parseLine(line: string): [id: string, held: Held] {
  const [kind, id = '', ...more] = line.split(' ');
  if (kind === 'made') {
    const [pid, startedAt] = more.map(Number);
    return [id, { state: 'running', pid: pid!, startedAt: startedAt! }];
  }
  const [code, startedAt, finishedAt, reached] = more.map(Number);
  const words = more.slice(4).join(' ');
  return [
    id,
    {
      state: 'ended',
      code: code!,
      startedAt: startedAt!,
      finishedAt: finishedAt!,
      reached: reached === 1,
      words,
    },
  ];
}
