/** Starts a supervisor and follows it until the cluster is started: what `up` and `demo` share. */
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type ChildProcess, spawnIn } from '../kernel/spawn.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { checkDataDir, makeDataDir } from './data-dir.ts';
import { openLog } from './log-file.ts';
import type { ClusterPaths } from './paths.ts';
import { DETACH, type SupervisorEvent, type SupervisorOptions } from './supervisor-protocol.ts';

export interface StartDeps {
  readonly paths: ClusterPaths;
  readonly options: SupervisorOptions;
  /** Environment of the supervisor and of everything it starts. */
  readonly childEnv: Readonly<Record<string, string>>;
  onStep(text: string): void;
  /** Aborting gives the start up; what was made is removed again. */
  readonly signal: AbortSignal;
}

export interface StartedCluster {
  readonly pid: number;
  /** Unix milliseconds: no process of it is older. */
  readonly startedAt: number;
  /** Lets this process end without the cluster ending with it. */
  detach(): void;
  /** How the supervisor ended, once it does. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

const SUPERVISOR = fileURLToPath(new URL('../app/supervisor.ts', import.meta.url));

/** Resolves when the API server answers. @throws HeddleError with what the supervisor says went wrong */
export async function startCluster(deps: StartDeps): Promise<StartedCluster> {
  const { paths, options, signal } = deps;
  signal.throwIfAborted();
  checkDataDir(paths);
  makeDataDir(paths, options.owner !== undefined && options.owner.uid !== 0);
  const startedAt = Date.now();
  const child = spawnSupervisor(deps);
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, by) => resolve({ code, signal: by }));
    child.once('error', () => resolve({ code: null, signal: null }));
  });
  const stdin = child.stdin as Writable;
  // A supervisor that ended already says why on its report channel.
  stdin.on('error', () => {});
  stdin.write(`${JSON.stringify(options)}\n`);
  const onAbort = () => child.kill('SIGTERM');
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await started(child, deps, ended);
  } catch (error) {
    // It only knows that it was asked to end.
    if (signal.aborted && error instanceof HeddleError && error.code === 'Interrupted')
      throw new HeddleError('Interrupted', `the start was given up: ${errorText(signal.reason)}`);
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  signal.throwIfAborted();
  return {
    pid: child.pid ?? 0,
    startedAt,
    ended,
    detach() {
      stdin.end(`${DETACH}\n`);
      (child.stdio[3] as Readable).destroy();
      child.unref();
    },
  };
}

function spawnSupervisor({ paths, childEnv }: StartDeps): ChildProcess {
  const log = openLog(join(paths.logs, 'supervisor.log'));
  try {
    return spawnIn({
      argv: [process.execPath, '--disable-warning=ExperimentalWarning', SUPERVISOR, paths.dataDir],
      env: { NODE_COMPILE_CACHE: paths.compileCache, ...childEnv },
      cwd: '/',
      stdio: ['pipe', log, log, 'pipe'],
      detached: true,
    });
  } finally {
    closeSync(log);
  }
}

async function started(
  child: ChildProcess,
  { onStep, paths, signal }: StartDeps,
  ended: StartedCluster['ended'],
): Promise<void> {
  const lines = createInterface({ input: child.stdio[3] as Readable });
  for await (const line of lines) {
    const event = JSON.parse(line) as SupervisorEvent;
    if (event.type === 'step') onStep(event.text);
    else if (event.type === 'started') return;
    else {
      // It says so before it has ended: nothing of it is left once we return.
      await ended;
      throw new HeddleError(event.code, event.message, { hint: event.hint });
    }
  }
  const { code, signal: by } = await ended;
  signal.throwIfAborted();
  throw new HeddleError(
    'SupervisorEnded',
    `the supervisor ended (${by ?? `exit code ${code}`}) before the cluster was up`,
    {
      hint: `"heddle down --data-dir ${paths.dataDir}" removes what it left; its log is ${join(paths.logs, 'supervisor.log')}`,
    },
  );
}
