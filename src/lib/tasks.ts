/**
 * Long-lived work is `run(signal)`. A process starts its tasks in the order they are read, waits for the
 * first signal or failure, then stops them in reverse within a deadline.
 */
import { errorText } from './errors.ts';
import type { Log } from './log.ts';
import { aborted } from './signals.ts';

export interface Task {
  readonly name: string;
  /** Resolves when the task has ended after `signal`; rejecting ends the process. */
  run(signal: AbortSignal): Promise<void>;
}

export interface RunOptions {
  log: Log;
  signal: AbortSignal;
  /** Milliseconds that all tasks together have to end. Default 5,000. */
  deadline?: number;
}

/** Runs tasks side by side until the signal or the first failure; stops the last-named first. */
export async function runTasks(tasks: readonly Task[], options: RunOptions): Promise<void> {
  const { log, signal, deadline = 5000 } = options;
  const started = tasks.map((task) => {
    const stop = new AbortController();
    return { task, stop, done: task.run(stop.signal) };
  });
  let failure: unknown;
  const failed = Promise.all(started.map(({ done }) => done)).catch((error: unknown) => {
    failure = error;
  });
  await Promise.race([failed, aborted(signal)]);
  await withDeadline(stopInReverse(started, log), deadline, () => log.warn('tasks did not end in time'));
  if (failure !== undefined) throw failure;
}

/** Starts a task before its turn; in its turn it is only taken over. */
export function begun({ name, run }: Task): Task {
  const stop = new AbortController();
  const done = run(stop.signal);
  // Until then a failure waits for whoever takes it over.
  done.catch(() => {});
  return {
    name,
    run(signal) {
      signal.addEventListener('abort', () => stop.abort(signal.reason), { once: true });
      return done;
    },
  };
}

async function stopInReverse(
  started: readonly { task: Task; stop: AbortController; done: Promise<void> }[],
  log: Log,
): Promise<void> {
  for (const { task, stop, done } of started.toReversed()) {
    stop.abort(new Error(`${task.name} is asked to stop`));
    await done.catch((error: unknown) => {
      if (!stop.signal.aborted) log.error('task failed', { task: task.name, error: errorText(error) });
    });
  }
}

async function withDeadline(work: Promise<void>, ms: number, onLate: () => void): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      onLate();
      resolve();
    }, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

/** Aborts on SIGINT or SIGTERM; a second one is left to its default and ends the process at once. */
export function shutdownSignal(): AbortSignal {
  const controller = new AbortController();
  const names = ['SIGINT', 'SIGTERM'] as const;
  const onSignal = (name: string) => {
    for (const each of names) process.off(each, onSignal);
    controller.abort(new Error(`received ${name}`));
  };
  for (const name of names) process.on(name, onSignal);
  return controller.signal;
}
