/** A local cluster for a scenario: its own data directory, its own port, gone when the test ends. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type ClusterPaths, clusterPaths } from '../../src/cluster/paths.ts';
import { freePort } from '../../src/cluster/ports.ts';

export const root = resolve(fileURLToPath(import.meta.url), '../../..');

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LocalCluster {
  readonly dataDir: string;
  readonly apiPort: number;
  readonly paths: ClusterPaths;
  /** Runs the CLI on this cluster, whatever its exit code. */
  heddle(...args: string[]): Promise<Outcome>;
  /** Runs the CLI and fails the test unless it succeeds. */
  must(...args: string[]): Promise<string>;
  /** What `heddle status -o json` says. */
  status(): Promise<Status>;
}

export interface Status {
  readonly processes: readonly {
    name: string;
    pid: number;
    pss?: number;
    state: string;
    restarts: number;
    log: string;
  }[];
  readonly memory: { readonly processes: number; readonly pss: number } | null;
  readonly [field: string]: unknown;
}

export function execute(command: string, args: readonly string[], timeoutMs = 300_000): Promise<Outcome> {
  return new Promise((done, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      done({
        code: code ?? -1,
        stdout: Buffer.concat(stdout).toString('utf8'),
        stderr: Buffer.concat(stderr).toString('utf8'),
      });
    });
  });
}

/** The commands of a cluster that is not up yet; it is taken down, by force if need be, when the test ends. */
export async function localCluster(t: TestContext): Promise<LocalCluster> {
  const dataDir = mkdtempSync(join(tmpdir(), 'heddle-scenario-'));
  const apiPort = freePort();
  const paths = clusterPaths(dataDir);
  const heddle = (...args: string[]) => {
    const [verb = '', ...rest] = args;
    return execute(join(root, 'heddle'), [verb, '--data-dir', dataDir, ...rest]);
  };
  t.after(async () => {
    const down = await heddle('down');
    rmSync(dataDir, { recursive: true, force: true });
    if (down.code !== 0) throw new Error(`heddle down failed: ${down.stderr}`);
  });
  const must = async (...args: string[]) => {
    const outcome = await heddle(...args);
    if (outcome.code === 0) return outcome.stdout;
    throw new Error(
      `heddle ${args.join(' ')} ended with ${outcome.code}:\n${outcome.stderr}\n${logs(paths)}`,
    );
  };
  const status = async () => JSON.parse(await must('status', '-o', 'json')) as Status;
  return { dataDir, apiPort, paths, heddle, must, status };
}

/** The last lines of the supervisor's log, for a failure's message. */
function logs(paths: ClusterPaths): string {
  try {
    return readFileSync(join(paths.logs, 'supervisor.log'), 'utf8').split('\n').slice(-20).join('\n');
  } catch {
    return '(no supervisor log)';
  }
}

/** A cluster that is up, with manifests applied and every pod Ready. */
export async function upCluster(t: TestContext, manifests: string, ...args: string[]): Promise<LocalCluster> {
  const cluster = await localCluster(t);
  await cluster.must(
    'up',
    '--detach',
    '--stand-in',
    '--api-port',
    String(cluster.apiPort),
    '-f',
    manifests,
    ...args,
  );
  return cluster;
}
