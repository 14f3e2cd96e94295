/**
 * Programs judged beside the event loop: a thread opens them as the backend will, and what it loaded stays pinned.
 * Opening the backend then finds all of it and takes tens of milliseconds instead of hundreds.
 */
import { Worker } from 'node:worker_threads';
import { errorText } from '../../lib/errors.ts';
import type { NodePrograms } from './node-programs.ts';
import type { Line } from './prepare-thread.ts';

/** Never rejects: what was not prepared is loaded by opening the backend, which says what is wrong. */
export function prepareEbpf({ objectDir, pinDir, maxEntries = {}, log }: NodePrograms): Promise<void> {
  return new Promise((resolve) => {
    const worker = new Worker(new URL('./prepare-thread.ts', import.meta.url), {
      workerData: { objectDir, pinDir, maxEntries },
      // Descriptors that system calls opened are none that the thread's fs has heard of.
      trackUnmanagedFds: false,
    });
    worker.on('message', ([level, message, fields]: Line) => log[level](message, fields));
    worker.once('error', (error) =>
      log.debug('eBPF programs were not prepared', { error: errorText(error) }),
    );
    worker.once('exit', () => resolve());
  });
}
