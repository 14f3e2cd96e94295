/** A pod's log over HTTP. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../lib/clock.ts';
import { HeddleError } from '../lib/errors.ts';
import { findContainer } from './containers.ts';
import { createLineReader, type LogView, plainRenderer } from './log-view.ts';
import { readLog } from './logs.ts';
import type { PodWorker } from './pod-worker.ts';
import { STAND_IN_RUNS_NOTHING } from './status.ts';
import { createCriReader } from './process/cri-log.ts';

/** Followed until the reader, the container or the pod goes away. */
export async function sendLog(
  worker: PodWorker,
  req: IncomingMessage,
  res: ServerResponse,
  query: URLSearchParams,
): Promise<void> {
  const tail = wholeNumber(query, 'tail');
  const follow = flag(query, 'follow');
  const gone = new AbortController();
  const signal = AbortSignal.any([gone.signal, worker.ended]);
  const source = sourceOf(worker, query, signal);
  res.on('close', () => gone.abort());
  req.resume();
  res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  res.flushHeaders();
  const write = (chunk: Buffer) =>
    new Promise<void>((resolve) => {
      if (chunk.length === 0 || res.destroyed || res.write(chunk)) return resolve();
      res.once('drain', resolve);
      res.once('close', resolve);
    });
  const { path, until, reader: makeReader } = source;
  const reader = makeReader(write);
  const enough = () => reader.isFull() || res.destroyed;
  await readLog({ path, follow, enough, ...(tail === undefined ? {} : { tail }) }, reader.take, until);
  res.end();
}

interface Source {
  path: string;
  /** Nothing more comes. */
  until: AbortSignal;
  /** From what the log has to what the client sees. */
  reader(write: (text: Buffer) => Promise<void>): ReturnType<typeof createLineReader>;
}

/** Milliseconds between looks whether a container that is followed still runs. */
const LOOK_MS = 200;

function sourceOf(worker: PodWorker, query: URLSearchParams, signal: AbortSignal): Source {
  const processes = worker.processes();
  const container = query.get('container') ?? undefined;
  const view = viewOf(query);
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  if (!processes) {
    const added = worker.pod && findContainer(worker.pod, container).name;
    if (worker.pod?.spec?.ephemeralContainers?.some(({ name }) => name === added))
      throw new HeddleError('ContainerNotRunning', STAND_IN_RUNS_NOTHING);
    if (flag(query, 'previous')) throw noPrevious(container ?? 'stand-in', worker.label);
    const render = plainRenderer(view);
    return { path: worker.logFile(), until, reader: (write) => createLineReader(view, render, write) };
  }
  const { path, running } = processes.log(container, flag(query, 'previous'));
  const isOver = () => {
    const now = processes.log(container, false);
    return now.path !== path || !now.running;
  };
  const look = async () => {
    while (!isOver()) await systemClock.sleep(LOOK_MS, until);
    over.abort();
  };
  if (running) void look().catch(() => {});
  else over.abort();
  return { path, until, reader: (write) => createCriReader(view, write) };
}

function viewOf(query: URLSearchParams): LogView {
  const limitBytes = wholeNumber(query, 'limitBytes');
  const sinceTime = query.get('sinceTime');
  return {
    timestamps: flag(query, 'timestamps'),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(sinceTime === null ? {} : { since: Date.parse(sinceTime) }),
  };
}

const noPrevious = (container: string, pod: string) =>
  new HeddleError('NoPreviousRun', `previous terminated container "${container}" in pod "${pod}" not found`, {
    hint: 'a stand-in is never started again',
  });

function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new HeddleError('BadRequest', `${name}="${text}" is not a whole number`);
  return Number(text);
}

const flag = (query: URLSearchParams, name: string): boolean =>
  query.has(name) && !['false', '0'].includes(query.get(name) ?? '');
