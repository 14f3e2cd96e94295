/**
 * Supervisor of a node's stand-in server: `stand-in.ts <data-dir> <node>`. It loads no FFI and stays small.
 * SIGTERM ends the supervisor only; the server's pods keep serving until its cgroup is killed.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { clusterPaths } from '../cluster/paths.ts';
import { systemClock } from '../lib/clock.ts';
import { createLog } from '../lib/log.ts';
import { shutdownSignal } from '../lib/tasks.ts';
import { supervise } from '../podhost/stand-in/supervise.ts';
import { childEnv, readEnv } from './env.ts';

const [dataDir, node] = process.argv.slice(2);
if (!dataDir || !node) {
  process.stderr.write('usage: stand-in.ts <data-dir> <node>\n');
  process.exit(2);
}
const env = readEnv();
const paths = clusterPaths(dataDir);
const { standInSocket } = paths.node(node);
const logFile = join(paths.logs, `stand-in-server-${node}.log`);
mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
mkdirSync(dirname(standInSocket), { recursive: true, mode: 0o700 });

await supervise(
  {
    socketPath: standInSocket,
    pidFile: `${standInSocket}.pid`,
    start: () => startServer(dataDir, node),
    clock: systemClock,
    log: createLog({ level: env.logLevel, fields: { process: 'stand-in', node } }),
  },
  shutdownSignal(),
);
process.exit(0);

/** Detached: a signal to this process or its terminal does not reach the server. Same cgroup, same namespace. */
function startServer(...args: string[]): number {
  const log = openSync(logFile, 'a', 0o600);
  const file = join(import.meta.dirname, 'stand-in-server.ts');
  const child = spawn(process.execPath, [...process.execArgv, file, ...args], {
    detached: true,
    stdio: ['ignore', log, log],
    env: childEnv(env),
  });
  child.on('error', () => {});
  closeSync(log);
  child.unref();
  return child.pid ?? 0;
}
