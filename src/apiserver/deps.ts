/** What the parts of the API server are given. */
import type { Resource } from '../api/resource.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Store } from '../store/types.ts';
import type { AccountTokens } from './account-tokens.ts';
import type { ServiceAddresses } from './allocate.ts';
import type { User } from './authenticate.ts';
import type { Kubelets } from './kubelets.ts';
import type { ResourceInfo } from './request-info.ts';

export interface Deps {
  readonly store: Store;
  readonly registry: readonly Resource[];
  readonly addresses: ServiceAddresses;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Absent: logs and commands are not to be had. */
  readonly kubelets?: Kubelets | undefined;
  /** Absent: service accounts have no tokens. */
  readonly accountTokens?: AccountTokens | undefined;
  /** Aborts when the server begins to shut down: watches end. */
  readonly stopping: AbortSignal;
}

/** A request for a resource, understood as far as its path goes. */
export interface Call {
  readonly info: ResourceInfo;
  readonly resource: Resource;
  readonly query: URLSearchParams;
  readonly user: User;
  /** Media type of the body, and the body; empty for methods without. */
  readonly contentType: string;
  readonly body: string;
  readonly accept: string | undefined;
  /** For the response's Warning headers. */
  warn(text: string): void;
}

export interface Answer {
  readonly code: number;
  /** Text and a Buffer are sent as they are; an object as JSON. */
  readonly body: unknown;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}
