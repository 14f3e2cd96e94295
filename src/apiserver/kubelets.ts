/** What the API server asks of the node that has a pod. On a cluster of our own the agents answer. */
import type { Readable, Writable } from 'node:stream';

export interface PodRef {
  readonly node: string;
  readonly namespace: string;
  readonly pod: string;
}

export interface ExecRequest extends PodRef {
  readonly container?: string;
  readonly argv: string[];
  readonly stdin?: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly signal: AbortSignal;
}

export interface Kubelets {
  /** The log as text. @throws HeddleError what the node said */
  log(ref: PodRef, query: URLSearchParams, signal: AbortSignal): Promise<Readable>;
  /** The command's exit code. @throws HeddleError what the node said */
  exec(request: ExecRequest): Promise<number>;
}
