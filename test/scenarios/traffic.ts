/** Traffic from inside a namespace, and what became of it: see traffic-client.ts. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from './local-cluster.ts';

export interface Report {
  counts: { kept: number; new: number; reconnects: number };
  failures: { at: number; target: string; way: string; error: string }[];
}

export interface Traffic {
  stop(): Promise<Report>;
}

/** `targets`: `host:port`, IPv6 in brackets. Resolves when the first requests are on their way. */
export async function startTraffic(
  t: TestContext,
  netns: string,
  targets: readonly string[],
): Promise<Traffic> {
  const child: ChildProcess = spawn(
    'nsenter',
    [
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
  return {
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
