/** What the API server asks of the node that has a pod. On a cluster of our own the agents answer. */
import type { Duplex, Readable, Writable } from 'node:stream';

export interface PodRef {
  readonly node: string;
  readonly namespace: string;
  readonly pod: string;
}

/** In characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export interface CommandRequest extends PodRef {
  readonly container?: string;
  /** Absent: what the container runs already. */
  readonly argv?: string[];
  readonly stdin?: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** It runs in a terminal of its own, whose errors are among its output. Calls the listener for each size. */
  readonly terminal?: { onResize(listener: (size: TerminalSize) => void): void };
  readonly signal: AbortSignal;
}

export interface Kubelets {
  /** The log as text. @throws HeddleError what the node said */
  log(ref: PodRef, query: URLSearchParams, signal: AbortSignal): Promise<Readable>;
  /** The command's exit code. @throws HeddleError what the node said */
  exec(request: CommandRequest): Promise<number>;
  /** A connection to a port of the pod, its ends closing apart. @throws HeddleError what the node said */
  forward(ref: PodRef, port: number, signal: AbortSignal): Promise<Duplex>;
}
