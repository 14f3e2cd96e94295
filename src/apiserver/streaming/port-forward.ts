/** Connections to ports of a pod, each as two streams: its data, and why it failed. */
import type { Duplex, Writable } from 'node:stream';
import { errorText } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { badRequest } from '../failure.ts';
import type { Kubelets, PodRef } from '../kubelets.ts';

export interface ForwardDeps {
  kubelets: Kubelets;
  ref: PodRef;
  stopping: AbortSignal;
  log: Log;
}

export interface Pair {
  readonly port: number;
  /** Ends apart in both directions. */
  readonly data: Duplex;
  /** Gets the reason, if there is one, and is ended with the connection. */
  readonly error: Writable;
}

/** Joins `data` with the pod's port until both are done, or either breaks. */
export function forwardPair({ kubelets, ref, stopping }: ForwardDeps, { port, data, error }: Pair): void {
  const gone = new AbortController();
  data.once('close', () => {
    // At its end, what was said last is still on its way to the pod.
    if (!data.readableEnded) gone.abort(new Error('the client closed the connection'));
  });
  const signal = AbortSignal.any([gone.signal, stopping]);
  kubelets.forward(ref, port, signal).then(
    (pod) => {
      pod.on('error', () => pod.destroy());
      signal.addEventListener('abort', () => pod.destroy(), { once: true });
      if (signal.aborted) pod.destroy();
      data.pipe(pod);
      pod.pipe(data);
      pod.once('close', () => {
        // Broken off or at its end: nothing more comes, and what the client still says has nobody to go to.
        if (!data.writableEnded) data.end();
        data.resume();
        error.end();
      });
    },
    (why: unknown) => {
      data.resume();
      data.end();
      error.end(errorText(why));
    },
  );
}

/** @throws ApiFailure 400 */
export function portOf(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535)
    throw badRequest(`unable to parse ${JSON.stringify(text)} as a port`);
  if (port < 1) throw badRequest(`port ${JSON.stringify(text)} must be > 0`);
  return port;
}
