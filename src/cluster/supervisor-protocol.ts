/**
 * Between `heddle up` and the supervisor that it starts. The supervisor reads one line of JSON from stdin
 * (`SupervisorOptions`), and then only watches for its end: whoever started the cluster in the foreground is
 * gone, so the cluster goes too, unless the word `detach` came before. On descriptor 3 it says what it does,
 * one `SupervisorEvent` a line.
 */
import type { ClusterConfig } from './config.ts';
import type { ProcessStatus } from './processes.ts';
import type { PublishedPort } from './publish.ts';

export interface SupervisorOptions {
  readonly config: ClusterConfig;
  readonly publish: readonly PublishedPort[];
  /** Who shall own the kubeconfig. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** Leave the data directory when the one in the foreground goes away. */
  readonly keep: boolean;
}

export const DETACH = 'detach';
export const REPORT_FD = 3;

export type SupervisorEvent =
  | { readonly type: 'step'; readonly text: string }
  /** The API server answers and every process was started. */
  | { readonly type: 'started' }
  /** It did not come up; everything that was made is removed again. */
  | { readonly type: 'error'; readonly code: string; readonly message: string; readonly hint?: string };

/** GET /status on the supervisor's socket. */
export interface SupervisorStatus {
  readonly id: string;
  readonly dataDir: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly phase: 'starting' | 'running' | 'stopping';
  /** Of every process in the cluster's cgroup, those that others started included. Bytes. */
  readonly memory: { readonly processes: number; readonly pss: number };
  readonly processes: readonly (ProcessStatus & { readonly pss: number | undefined; readonly log: string })[];
  readonly publish: readonly PublishedPort[];
}
