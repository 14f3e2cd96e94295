/** What the parts of the process runtime tell each other. */
import type { Pod } from '../../api/types.ts';

export type Container = NonNullable<Pod['spec']>['containers'][number];
export type ContainerStatus = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];
export type ContainerState = NonNullable<ContainerStatus['state']>;
export type Terminated = NonNullable<ContainerState['terminated']>;

/** What of a container outlives the agent. */
export interface SavedContainer {
  /** Of its starts; the name of the one that runs, or ran last, in the holder and in the log. */
  attempt: number;
  restarts: number;
  /** Failures in a row, for the back-off. */
  failures: number;
  /** How it ended last; absent while it runs for the first time. */
  ended?: Terminated;
  /** The end before that. */
  endedBefore?: Terminated;
  /** It has ended and is not started again. */
  over?: boolean;
}

export interface ContainerFacts {
  state: ContainerState;
  lastState: ContainerState;
  ready: boolean;
  started: boolean;
  restarts: number;
  over: boolean;
}

export type EventType = 'Normal' | 'Warning';
export type Say = (type: EventType, reason: string, message: string) => void;
