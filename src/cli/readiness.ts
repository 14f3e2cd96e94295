/** Waits until nodes and pods are Ready, and says how far it is. */
import { type Kind, NODE, POD } from '../api/kinds.ts';
import type { Client } from '../client/types.ts';
import { systemClock } from '../lib/clock.ts';
import { HeddleError } from '../lib/errors.ts';

/** What nodes and pods have in common. */
export interface KubeLike {
  metadata: { name: string; namespace?: string; ownerReferences?: { controller?: boolean }[] };
  status?: {
    phase?: string;
    reason?: string;
    message?: string;
    conditions?: Condition[];
    containerStatuses?: Container[];
  };
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastHeartbeatTime?: string;
}

interface Container {
  readonly state?: { readonly running?: { readonly startedAt?: string } };
}

const conditionsOf = (object: KubeLike): readonly Condition[] => object.status?.conditions ?? [];

export const isReady = (object: KubeLike): boolean =>
  conditionsOf(object).some(({ type, status }) => type === 'Ready' && status === 'True');

/** Whether it became so after `since`, in Unix milliseconds: the API's times are whole seconds. */
export function isReadySince(object: KubeLike, since: number): boolean {
  const { conditions, containerStatuses } = object.status ?? {};
  const heartbeats = conditions?.filter(({ type }) => type === 'Ready').map((c) => c.lastHeartbeatTime);
  const starts = containerStatuses?.map(({ state }) => state?.running?.startedAt);
  const times = [...(heartbeats ?? []), ...(starts ?? [])].filter((time) => time !== undefined);
  const second = Math.floor(since / 1000) * 1000;
  return isReady(object) && times.every((time) => Date.parse(time) >= second);
}

/** It will not run again. */
export const hasFailed = ({ status }: KubeLike): boolean => status?.phase === 'Failed';

/** Somebody makes another pod in the place of one that has failed. */
export const isReplaced = (object: KubeLike): boolean =>
  hasFailed(object) && object.metadata.ownerReferences?.some(({ controller }) => controller) === true;

/** The words of the condition that stands in the way, of what has failed why, else the phase. */
export function whyNotReady(object: KubeLike): string | undefined {
  const { reason, message } = object.status ?? {};
  if (hasFailed(object) && message) return reason ? `${reason}: ${message}` : message;
  const bad = conditionsOf(object).find(
    ({ type, status }) => status !== 'True' && (type === 'Ready' || type === 'PodScheduled'),
  );
  return bad?.message ?? object.status?.phase;
}

export interface Tally {
  readonly ready: number;
  readonly total: number;
  /** What is not ready, with the reason where one is known. */
  readonly waiting: readonly string[];
  /** How many of them will never be. */
  readonly lost?: number;
}

export interface WaitDeps {
  readonly client: Client;
  readonly signal: AbortSignal;
  /** Milliseconds. */
  readonly timeout: number;
  /** Unix milliseconds; what was said before counts for nothing. */
  readonly since?: number;
  onTally(tally: Tally): void;
  /** Throws where there is nothing to wait for; asked once a second. */
  check?(): Promise<void>;
}

const PAUSE = 100;
const LOOKS_PER_CHECK = 10;

/** @throws HeddleError `NotReady` */
export async function waitForNodes(wanted: number, deps: WaitDeps): Promise<void> {
  await until('nodes', deps, async () => {
    const nodes = await listAll(NODE, deps.client);
    const waiting = nodes.filter((node) => !isReadySince(node, deps.since ?? 0)).map(describe);
    const ready = nodes.length - waiting.length;
    return { ready, total: Math.max(wanted, nodes.length), waiting };
  });
}

/** Of pods that are to run on; those that are done do not count. @throws HeddleError `NotReady` */
export async function waitForPods(deps: WaitDeps, expected: () => Promise<number>): Promise<void> {
  await until('pods', deps, async () => {
    const pods = (await listAll(POD, deps.client)).filter(
      (pod) => pod.status?.phase !== 'Succeeded' && !isReplaced(pod),
    );
    const others = pods.filter((pod) => !isReadySince(pod, deps.since ?? 0));
    return {
      ready: pods.length - others.length,
      total: Math.max(await expected(), pods.length),
      waiting: others.map(describe),
      lost: others.filter(hasFailed).length,
    };
  });
}

async function until(what: string, deps: WaitDeps, look: () => Promise<Tally>): Promise<void> {
  const began = systemClock.monotonic();
  const end = began + deps.timeout;
  for (let n = 1; ; n++) {
    const tally = await look();
    deps.onTally(tally);
    if (tally.ready >= tally.total) return;
    if (n % LOOKS_PER_CHECK === 0) await deps.check?.();
    const isOver = (tally.lost ?? 0) > 0 && tally.ready + (tally.lost ?? 0) >= tally.total;
    if (isOver || systemClock.monotonic() > end) throw notReady(what, tally, systemClock.monotonic() - began);
    await systemClock.sleep(PAUSE, deps.signal);
  }
}

function notReady(what: string, { ready, total, waiting }: Tally, took: number): HeddleError {
  const more = waiting.length > 10 ? [`and ${waiting.length - 10} more`] : [];
  return new HeddleError(
    'NotReady',
    `${ready} of ${total} ${what} are Ready after ${Math.round(took / 1000)} s`,
    {
      hint:
        waiting.length > 0
          ? ['waiting for', ...waiting.slice(0, 10), ...more].join('\n        ')
          : 'see "heddle status" for processes that do not run, and --timeout',
    },
  );
}

async function listAll<T>(kind: Kind<T>, client: Client): Promise<T[]> {
  return (await client.list(kind)).items;
}

function describe(object: KubeLike): string {
  const { name, namespace } = object.metadata;
  const why = whyNotReady(object);
  return `${namespace ? `${namespace}/` : ''}${name}${why ? `: ${why}` : ''}`;
}
