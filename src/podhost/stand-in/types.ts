import type { ProbeRequest } from '../probe/connect.ts';
import type { Resolver } from '../probe/resolve.ts';
import type { Behaviour } from './behaviour.ts';

/** What the agent asks of a node's stand-in server (PUT /pods). */
export interface StandInPod {
  uid: string;
  namespace: string;
  name: string;
  node: string;
  /** Path of the pod's network namespace. */
  netns: string;
  addresses: string[];
  tcp: number[];
  udp: number[];
  /** The pod's log file. */
  log: string;
  resolv: Resolver;
  /** It is to go: every HTTP answer is the last one of its connection, so that clients move on by themselves. */
  draining?: boolean;
  /** What its annotations ask for; absent: it answers at once, and calls nobody. */
  behaviour?: Behaviour;
}

export interface StandInPods {
  pods: StandInPod[];
}

export interface StandInPodStatus {
  uid: string;
  namespace: string;
  name: string;
  /** All ports of the pod are open. */
  serving: boolean;
  /** Ports that could not be opened, with the reason. */
  errors: { port: number; protocol: 'TCP' | 'UDP'; error: string }[];
  connections: number;
  requests: number;
  /** Calls of its own that were not made: their time had passed, or too many were under way. */
  callsMissed: number;
}

/** What an echo says about a request. */
export interface Echo {
  pod: string;
  namespace: string;
  node: string;
  protocol: string;
  /** The source address as the pod saw it. */
  peer: { address: string; port: number };
  local: { address: string; port: number };
  method?: string;
  path?: string;
  headers?: Record<string, unknown>;
  body?: string;
  /** Why the answer is an error, if it is one that was asked for. */
  injected?: string;
  /** What it called for this request, in the order of the annotation. */
  calls?: CallReport[];
}

/** One call of a stand-in. */
export interface CallReport {
  url: string;
  /** Milliseconds until the whole answer was there, or none was to come. */
  ms: number;
  /** Of HTTP. */
  status?: number;
  /** Of gRPC: 0 is success. */
  grpcStatus?: number;
  /** Where the connection went. */
  remote?: { address: string; port: number };
  /** Addresses in the order in which they were tried. */
  attempts?: string[];
  /** Errno name and words, where no answer came. */
  error?: string;
  /** Not made, to keep the tree small: nobody's failure. */
  skipped?: string;
  /** Of a stand-in: what it saw, and whom it called. Of others: the beginning of what they said. */
  answer?: Echo | string;
}

/** A client that sends this line over raw TCP, or this datagram over UDP, is answered with an Echo as JSON. */
export const WHO_AM_I = 'heddle: who am I?\n';

/** POST /connect: what a pod is to try. Answered with a ProbeResult. */
export type StandInConnect = ProbeRequest & { uid: string };
