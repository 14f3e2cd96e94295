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
  onFailure?(): void;
}

export interface Pair {
  readonly port: number;
  /** Ends apart in both directions. */
  readonly data: Duplex;
  /** Gets the reason, if there is one, and is ended with the connection. */
  readonly error: Writable;
}

/** Milliseconds that the pod has to end its half when the client ended its own and then went. */
const FAREWELL_MS = 10_000;

/** Joins `data` with the pod's port until both are done, or either breaks. */
export function forwardPair(
  { kubelets, ref, stopping, onFailure }: ForwardDeps,
  { port, data, error }: Pair,
): void {
  const gone = new AbortController();
  let late: NodeJS.Timeout | undefined;
  const giveUp = () => gone.abort(new Error('the client closed the connection'));
  data.once('close', () => {
    if (!data.readableEnded) giveUp();
    // What was said last is still on its way to the pod, whose answer nobody hears.
    else if (!data.writableFinished) late = setTimeout(giveUp, FAREWELL_MS).unref();
  });
  if (data.destroyed) giveUp();
  const signal = AbortSignal.any([gone.signal, stopping]);
  kubelets.forward(ref, port, signal).then(
    (pod) => {
      pod.on('error', () => pod.destroy());
      const end = () => void pod.destroy();
      signal.addEventListener('abort', end, { once: true });
      if (signal.aborted) pod.destroy();
      data.pipe(pod);
      pod.pipe(data);
      data.once('close', () => pod.resume());
      pod.once('close', () => {
        clearTimeout(late);
        // `stopping` would keep all that the listener knows as long as the server runs.
        signal.removeEventListener('abort', end);
        // Broken off or at its end: nothing more comes, and what the client still says has nobody to go to.
        if (!data.writableEnded) data.end();
        data.resume();
        error.end();
      });
    },
    (why: unknown) => {
      if (!signal.aborted) onFailure?.();
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
