/** Traffic from inside a namespace, and what became of it: see traffic-client.ts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findCgroup2Mount } from '../../src/kernel/cgroup.ts';
import { type LocalCluster, root } from './local-cluster.ts';

export interface Report {
  counts: { kept: number; new: number; reconnects: number };
  failures: {
    at: number;
    target: string;
    way: string;
    error: string;
    port: number;
    answers: number;
    waited: number;
  }[];
}

export interface Traffic {
  /** Until each way was used so many more times. */
  asked(more: number): Promise<void>;
  stop(): Promise<Report>;
}

/** Where processes of a node's pods are. */
export interface Place {
  /** Of the pod. */
  readonly netns: string;
  /** Folder below the node's cgroup: there, as in any pod, sockets meet the data path's hooks. Absent: they meet none. */
  readonly cgroup?: string;
}

export function placeIn({ paths }: LocalCluster, node: string, uid: string): Place {
  const mount = findCgroup2Mount() ?? '';
  return { netns: paths.netns(`pod-${uid}`), cgroup: join(mount, paths.node(node).cgroup, 'traffic') };
}

/** `targets`: `host:port`, IPv6 in brackets. Resolves when the first requests are on their way. */
export async function startTraffic(
  t: TestContext,
  { netns, cgroup }: Place,
  targets: readonly string[],
): Promise<Traffic> {
  if (cgroup !== undefined) mkdirSync(cgroup, { recursive: true });
  const child: ChildProcess = spawn(
    'sh',
    [
      '-c',
      '[ -z "$0" ] || echo $$ >"$0/cgroup.procs" && exec "$@"',
      cgroup ?? '',
      'nsenter',
      `--net=${netns}`,
      join(root, 'node_modules/.bin/node'),
      join(root, 'test/scenarios/traffic-client.ts'),
      ...targets,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString('utf8');
  });
  while (!text.includes('started')) await sleep(50);
  /** How often the way was used that was used less. */
  const least = (): number => {
    const [, kept, fresh] = [...text.matchAll(/so far (\d+) (\d+)\n/g)].at(-1) ?? [];
    return Math.min(Number(kept ?? 0), Number(fresh ?? 0));
  };
  return {
    async asked(more) {
      const before = least();
      for (let i = 0; i < 1200 && least() < before + more; i++) await sleep(50);
      if (least() < before + more) throw new Error(`requests do not go on: ${text.slice(-200)}`);
    },
    async stop() {
      child.kill('SIGTERM');
      await once(child, 'close');
      return JSON.parse(text.slice(text.indexOf('{'))) as Report;
    },
  };
}

/** Addresses and a port as `host:port`. */
export const targetsOf = (addresses: readonly string[], port: number): string[] =>
  addresses.map((host) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`));
