/** What every controller is made of: informers say which keys to look at, a queue looks at each in turn. */
import type { Client } from '../client/types.ts';
import type { EventRecorder } from '../client/events.ts';
import { type Queue, type QueueOptions, createQueue } from '../client/queue.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import { aborted } from '../lib/signals.ts';
import type { ClusterInformers } from './informers.ts';

export interface ControllerDeps {
  client: Client;
  informers: ClusterInformers;
  /** Events about objects; the component is the controller's. */
  recorder(component: string): EventRecorder;
  log: Log;
  metrics: Metrics;
  clock: Clock;
}

export interface Controller {
  readonly name: string;
  run(signal: AbortSignal): Promise<void>;
}

/** A queue under the controller's name. */
export function queueFor(
  deps: ControllerDeps,
  name: string,
  work: QueueOptions['work'],
  options: Partial<QueueOptions> = {},
): Queue {
  const { log, metrics, clock } = deps;
  return createQueue({ name, work, log: log.with({ controller: name }), metrics, clock, ...options });
}

/** Runs a queue once the informers it decides from have synced. */
export async function runWhenSynced(
  queue: Queue,
  informers: readonly { synced(): Promise<void> }[],
  signal: AbortSignal,
): Promise<void> {
  await Promise.race([Promise.all(informers.map((informer) => informer.synced())), aborted(signal)]);
  if (!signal.aborted) await queue.run(signal);
}

/** As Kubernetes writes times: seconds, UTC. `ms` since 1970. */
export const timestamp = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z');
