/**
 * Keeps a stand-in server running without being its lifeline: the server is a session of its own, found again
 * by its socket and pid file, so that killing this process disturbs no connection and its successor adopts.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { createBackoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';

export interface SuperviseDeps {
  socketPath: string;
  pidFile: string;
  /** Starts the server detached; its pid. */
  start(): number;
  clock: Clock;
  log: Log;
  /** Milliseconds a server has to answer after its start. Default 15,000. */
  startMs?: number;
  /** Milliseconds between health checks; three without an answer and it is killed. Default 5,000. */
  healthMs?: number;
}

/** Runs until the signal; the server goes on without it. */
export async function supervise(deps: SuperviseDeps, signal: AbortSignal): Promise<void> {
  const { clock, log } = deps;
  const backoff = createBackoff(50, 5000);
  while (!signal.aborted) {
    const since = clock.monotonic();
    const held = await attach(deps, signal).catch((error: unknown) => {
      log.error('stand-in server does not come up', { error: errorText(error) });
      return undefined;
    });
    if (signal.aborted) return held?.release();
    if (held) {
      log.info('stand-in server is up', { pid: held.pid });
      await watch(deps, held, signal);
      held.release();
      if (signal.aborted) return;
      log.warn('stand-in server ended; starting it again', { pid: held.pid });
      if (clock.monotonic() - since > 10_000) backoff.reset();
    }
    await clock.sleep(backoff.next(), signal).catch(() => {});
  }
}

interface Held {
  pid: number;
  /** Resolves when the server's end of the connection closes: it died. */
  gone: Promise<void>;
  release(): void;
}

/** A running server is adopted; otherwise one is started. */
async function attach(deps: SuperviseDeps, signal: AbortSignal): Promise<Held> {
  const running = await hold(deps.socketPath).catch(() => undefined);
  if (running) return running;
  let pid = readPid(deps.pidFile);
  if (pid === undefined) {
    pid = deps.start();
    writeFileSync(deps.pidFile, JSON.stringify({ pid, startTime: startTime(pid) }), { mode: 0o600 });
  }
  const deadline = deps.clock.monotonic() + (deps.startMs ?? 15_000);
  while (deps.clock.monotonic() < deadline && !signal.aborted) {
    const held = await hold(deps.socketPath).catch(() => undefined);
    if (held) return held;
    if (startTime(pid) === undefined)
      throw new Error(`the server (pid ${pid}) ended while starting; its log says why`);
    await deps.clock.sleep(20, signal).catch(() => {});
  }
  if (!signal.aborted) kill(pid);
  throw new Error(`the server (pid ${pid}) does not answer on ${deps.socketPath}`);
}

/** Returns when the server is gone or the signal aborts. */
async function watch(deps: SuperviseDeps, held: Held, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const end = () => stop.abort();
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  void held.gone.then(end);
  const healthMs = deps.healthMs ?? 5000;
  for (let missed = 0; !stop.signal.aborted; ) {
    await deps.clock.sleep(healthMs, stop.signal).catch(() => {});
    if (stop.signal.aborted) break;
    missed = (await answers(deps.socketPath, healthMs)) ? 0 : missed + 1;
    if (missed < 3) continue;
    deps.log.error('stand-in server hangs; killing it', { pid: held.pid });
    kill(held.pid);
    await held.gone;
  }
  signal.removeEventListener('abort', end);
}

function hold(socketPath: string): Promise<Held> {
  const { promise, resolve, reject } = Promise.withResolvers<Held>();
  const req = request({ socketPath, path: '/alive', agent: false, timeout: 5000 });
  req.on('timeout', () => req.destroy(new Error('no answer')));
  req.on('error', reject);
  req.on('response', (res: IncomingMessage) => {
    const pid = Number(res.headers['x-pid']);
    const gone = new Promise<void>((done) => res.on('close', () => done()));
    res.on('error', () => {});
    req.setTimeout(0);
    res.resume();
    resolve({ pid, gone, release: () => req.destroy() });
  });
  req.end();
  return promise;
}

function answers(socketPath: string, timeout: number): Promise<boolean> {
  return new Promise((resolve) => {
    const req = request({ socketPath, path: '/pods', agent: false, timeout }, (res) => {
      res.resume();
      res.on('end', () => resolve(true));
      res.on('error', () => resolve(false));
    });
    req.on('timeout', () => req.destroy(new Error('no answer')));
    req.on('error', () => resolve(false));
    req.end();
  });
}

/** The pid in the file, if the process that was meant still lives. */
function readPid(file: string): number | undefined {
  try {
    const saved = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; startTime: number };
    return startTime(saved.pid) === saved.startTime ? saved.pid : undefined;
  } catch {
    return undefined;
  }
}

/** Ticks after boot at which the process started (proc(5), field 22); undefined when it is no more. */
function startTime(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
