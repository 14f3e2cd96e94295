/** Agents of a cluster's nodes, asked together. */
import type { ClusterConfig } from '../cluster/config.ts';
import { clusterPaths, type ClusterPaths } from '../cluster/paths.ts';
import { errorText, HeddleError } from '../lib/errors.ts';
import { callSocket, type SocketCall } from '../lib/unix-http.ts';
import type { CliDeps } from './deps.ts';
import { requireRoot } from './flags.ts';
import { readConfig } from './up-request.ts';

export interface Answer<T> {
  readonly node: string;
  readonly answer: T;
}

export interface Agents {
  readonly paths: ClusterPaths;
  readonly config: ClusterConfig;
  readonly nodes: readonly string[];
  /**
   * `path` of every agent. One that does not answer is told on stderr and left out.
   * @throws HeddleError `SocketCall` where none answers
   */
  ask<T>(path: string, body?: unknown): Promise<Answer<T>[]>;
  /** @throws HeddleError `SocketCall` */
  askOne<T>(node: string, path: string, body?: unknown): Promise<T>;
}

/** Agents listen for root only. @throws HeddleError `NotRoot`, `NoCluster`, `BadFlag` */
export function agentsOf(dataDir: string, wanted: readonly string[] | undefined, deps: CliDeps): Agents {
  requireRoot(deps.isRoot, 'looking into the data path of nodes');
  const paths = clusterPaths(dataDir);
  const config = readConfig(paths);
  if (!config)
    throw new HeddleError('NoCluster', `there is no cluster in ${paths.dataDir}`, {
      hint: 'start one with "heddle up", or name another with --data-dir',
    });
  const all = config.nodes.map(({ name }) => name);
  const unknown = wanted?.find((name) => !all.includes(name));
  if (unknown !== undefined)
    throw new HeddleError('BadFlag', `--node "${unknown}": expected ${all.join(' or ')}`);
  const nodes = wanted ?? all;
  const callOf = (node: string, path: string, body: unknown): SocketCall => ({
    socketPath: paths.node(node).agentSocket,
    path,
    timeoutMs: 30_000,
    ...(body === undefined ? {} : { method: 'POST', body }),
  });
  return {
    paths,
    config,
    nodes,
    askOne: (node, path, body) => callSocket(callOf(node, path, body)),
    async ask<T>(path: string, body?: unknown): Promise<Answer<T>[]> {
      const results = await Promise.allSettled(nodes.map((node) => callSocket<T>(callOf(node, path, body))));
      const answers: Answer<T>[] = [];
      let failure: unknown;
      for (const [i, result] of results.entries()) {
        if (result.status === 'fulfilled') answers.push({ node: nodes[i] ?? '', answer: result.value });
        else {
          failure = result.reason;
          deps.stderr.write(`warning: ${nodes[i] ?? ''}: ${errorText(result.reason)}\n`);
        }
      }
      if (answers.length === 0) throw failure;
      return answers;
    },
  };
}
