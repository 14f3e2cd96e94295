/** Sessions with pods of every kind that end in every way, and a count of what the cluster holds meanwhile. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupTreePids, findCgroup2Mount } from '../../src/kernel/cgroup.ts';
import { mapLimited } from '../../src/lib/parallel.ts';
import type { LocalCluster } from './local-cluster.ts';
import {
  closing,
  type Connection,
  type Dial,
  message,
  openStreams,
  spdy,
  webSocket,
} from './stream-client.ts';

export interface Targets {
  namespace: string;
  /** A container with a shell, of a pod that serves `port`. */
  shell: { pod: string; container: string };
  web: { pod: string; port: number };
}

export interface Session {
  connection: Connection;
  /** As a client ends it that has what it wanted. */
  leave(): void;
  /** What tells of the end of what it was about, if the connection stays. */
  over?: string;
}

type Begin = (dial: Dial, targets: Targets) => Promise<Session>;

const commandPath = (targets: Targets, what: string, query: string) =>
  `/namespaces/${targets.namespace}/pods/${targets.shell.pod}/${what}?container=${targets.shell.container}&${query}`;
const CAT = 'stdin=1&stdout=1&command=sh&command=-c&command=echo%20rea%22%22dy%3B%20cat';

/** A frame of data of SPDY, stream 3, nothing in it, the last one. */
const LAST_OF_3 = '\0\0\0\u0003\u0001\0\0\0';

/** By what is done, over what. */
export const kinds: Readonly<Record<string, Begin>> = {
  async 'exec, WebSocket'(dial, targets) {
    const connection = await dial(commandPath(targets, 'exec', CAT), webSocket('v5.channel.k8s.io'));
    await connection.until('ready');
    return { connection, leave: () => connection.send(message(Buffer.of(255, 0))) };
  },
  async 'exec, SPDY'(dial, targets) {
    const connection = await dial(commandPath(targets, 'exec', CAT), spdy('v4.channel.k8s.io'));
    const streams = ['error', 'stdin', 'stdout'].map((streamtype) => ({ streamtype }));
    const { say } = openStreams(connection, streams);
    await connection.until('ready');
    return { connection, leave: () => say(3, 'bye', true) };
  },
  async 'attach, WebSocket'(dial, targets) {
    const connection = await dial(commandPath(targets, 'attach', 'stdout=1'), webSocket('v5.channel.k8s.io'));
    return { connection, leave: () => connection.send(closing) };
  },
  async 'port-forward, channels'(dial, { namespace, web }) {
    const path = `/namespaces/${namespace}/pods/${web.pod}/portforward?ports=${web.port}`;
    const connection = await dial(path, webSocket('v4.channel.k8s.io'));
    connection.send(message('\0GET / HTTP/1.1\r\nhost: web\r\n\r\n'));
    await connection.until(/HTTP\/1\.[01] [24]/);
    return { connection, leave: () => connection.send(closing) };
  },
  async 'port-forward, SPDY'(dial, { namespace, web }) {
    const connection = await dial(
      `/namespaces/${namespace}/pods/${web.pod}/portforward`,
      spdy('portforward.k8s.io'),
    );
    const pair = ['error', 'data'].map((streamtype) => ({
      streamtype,
      port: String(web.port),
      requestid: '0',
    }));
    const { say } = openStreams(connection, pair);
    say(3, 'GET / HTTP/1.1\r\nhost: web\r\n\r\n');
    await connection.until(/HTTP\/1\.[01] [24]/);
    // The session outlives its connections to the pod; the next one may come to an agent that is back.
    return { connection, leave: () => connection.end(), over: LAST_OF_3 };
  },
  async 'logs -f'(dial, targets) {
    const connection = await dial(commandPath(targets, 'log', 'follow=true'), { connection: 'close' });
    return { connection, leave: () => connection.end() };
  },
};

/** Who ends it, and how; what is left is closed by the server. */
export const ends: Readonly<Record<string, (session: Session) => Promise<void>>> = {
  async 'left in order'({ connection, leave }) {
    leave();
    await connection.closed;
  },
  async killed({ connection }) {
    connection.reset();
    await connection.closed;
  },
  async 'half closed'({ connection }) {
    connection.end();
    await connection.closed;
  },
  async 'killed with its eyes shut'({ connection }) {
    connection.stall();
    connection.reset();
    await connection.closed;
  },
};

/** `count` sessions, all kinds and ends in turn, ten at a time. */
export async function manySessions(dial: Dial, targets: Targets, count: number): Promise<void> {
  const all = Object.entries(kinds).flatMap(([kind, begin]) =>
    Object.entries(ends).map(([how, end]) => ({ what: `${kind}, ${how}`, begin, end })),
  );
  await mapLimited(
    Array.from({ length: count }, (_, i) => all[i % all.length]!),
    10,
    async ({ what, begin, end }) => {
      try {
        await within(`${what}: an end`, begin(dial, targets).then(end));
      } catch (cause) {
        throw new Error(what, { cause });
      }
    },
  );
}

const PATIENCE = 120_000;

export async function within<T>(what: string, work: Promise<T>): Promise<T> {
  const late = new AbortController();
  const timer = sleep(PATIENCE, undefined, { signal: late.signal }).then(
    () => Promise.reject(new Error(`${what} did not come`)),
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([work, timer]);
  } finally {
    late.abort();
  }
}

export interface Inventory {
  /** Descriptors of each process of the cluster. */
  descriptors: Record<string, number>;
  /** Kilobytes. */
  rss: Record<string, number>;
  /** Command lines of all that runs in the cluster, programs of pods included. */
  programs: string[];
}

export async function inventory(cluster: LocalCluster): Promise<Inventory> {
  const { processes } = await cluster.status();
  const ours = processes.filter(({ state, name }) => state === 'running' && !name.startsWith('lines'));
  const pids = cgroupTreePids(join(findCgroup2Mount() ?? '', cluster.paths.cgroup));
  return {
    descriptors: Object.fromEntries(
      ours.map(({ name, pid }) => [name, readdirSync(`/proc/${pid}/fd`).length]),
    ),
    rss: Object.fromEntries(ours.map(({ name, pid }) => [name, rssOf(pid)])),
    programs: pids.map(commandOf).filter((line) => line !== '' && !line.startsWith('sleep ')),
  };
}

const rssOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

/**
 * Milliseconds that connections of clients of the API server stay open when nobody uses them, by its keepAliveTimeout:
 * those of a cluster's start are many.
 */
const IDLE = 120_000;

/** What is held once nothing has been given back for longer than an idle connection stays. */
export async function steady(cluster: LocalCluster): Promise<Inventory> {
  const sum = ({ descriptors }: Inventory) => Object.values(descriptors).reduce((a, b) => a + b, 0);
  let least = await inventory(cluster);
  for (let since = Date.now(); Date.now() < since + IDLE + 15_000; await sleep(1000)) {
    const now = await inventory(cluster);
    if (sum(now) < sum(least)) [least, since] = [now, Date.now()];
  }
  return least;
}

/** Waits until nothing is held that was not held `before`. @throws Error that names what is left */
export async function untilAsBefore(
  cluster: LocalCluster,
  before: Inventory,
  { descriptors = true } = {},
): Promise<Inventory> {
  for (const end = Date.now() + IDLE + PATIENCE; ; await sleep(500)) {
    const now = await inventory(cluster);
    const more = Object.entries(now.descriptors).filter(
      ([name, count]) => descriptors && count > (before.descriptors[name] ?? 0),
    );
    const programs = now.programs.length - before.programs.length;
    if (more.length === 0 && programs <= 0) return now;
    if (Date.now() < end) continue;
    const left = now.programs.filter((line) => !before.programs.includes(line));
    throw new Error(
      `left behind: ${JSON.stringify(more)}, before ${JSON.stringify(before.descriptors)}; programs: ${left.join('; ')}`,
    );
  }
}
