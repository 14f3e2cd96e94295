/**
 * Limits of what pods send and are sent, under every backend: a queue at the pod's end of its link for what it sends, at
 * the host's end for what it is sent. They go with the link.
 */
import { closeNetns, type Netns, openNetns } from '../kernel/netns.ts';
import { openRoute } from '../kernel/route.ts';
import { type ShapedLink, shapeLink, shapeOf, unshapeLink } from '../kernel/shaper.ts';
import { errorText } from '../lib/errors.ts';
import { sameJson } from '../lib/json.ts';
import type { Log } from '../lib/log.ts';
import type { Backend } from './backend.ts';
import type { Bandwidth, Change, LocalPod, PlanState } from './plan/tables.ts';

export interface BandwidthDeps {
  /** The node's network namespace. */
  readonly ns: Netns;
  /** rtnetlink of it. */
  readonly route: { link(name: string): { readonly index: number } | undefined };
  readonly log: Log;
}

/** Of the pod's end of its link. */
const POD_LINK = 'eth0';

export interface Shaper {
  apply(changes: readonly Change[]): void;
  /** Also takes away limits that an earlier run made and nobody wants any more. */
  prune(pods: PlanState['pods']): void;
}

/** A pod that goes away meanwhile is no error; what fails is logged, and tried again with the pod's next change. */
export function createShaper({ ns, route, log }: BandwidthDeps): Shaper {
  const done = new Map<string, { readonly place: string; readonly bandwidth: Bandwidth }>();

  function settle(key: string, pod: LocalPod, known: boolean): void {
    const place = `${pod.interface} ${pod.netns ?? ''}`;
    const bandwidth = pod.bandwidth ?? {};
    const before = known ? (done.get(key) ?? { place, bandwidth: {} }) : undefined;
    if (before && before.place === place && sameJson(before.bandwidth, bandwidth)) return;
    try {
      const host = route.link(pod.interface);
      if (host) limit({ ifindex: host.index, ns }, bandwidth.ingress);
      if (
        pod.netns !== undefined &&
        (bandwidth.egress !== undefined || before?.bandwidth.egress !== undefined || !known)
      )
        limitPod(pod.netns, bandwidth.egress);
      done.set(key, { place, bandwidth });
    } catch (error) {
      done.delete(key);
      if (pod.bandwidth) log.error("a pod's bandwidth is not limited", { pod: key, error: errorText(error) });
    }
  }

  return {
    apply(changes) {
      for (const change of changes) {
        if (change.table !== 'pods') continue;
        if (change.value) settle(change.key, change.value, true);
        else done.delete(change.key);
      }
    },
    prune(pods) {
      done.clear();
      for (const [key, pod] of pods) settle(key, pod, false);
    },
  };
}

function limit(link: ShapedLink, bitsPerSecond: number | undefined): void {
  if (bitsPerSecond === undefined) unshapeLink(link);
  else shapeLink(link, shapeOf(bitsPerSecond));
}

function limitPod(path: string, bitsPerSecond: number | undefined): void {
  const ns = openNetns(path);
  try {
    const route = openRoute(ns);
    try {
      const link = route.link(POD_LINK);
      if (link) limit({ ifindex: link.index, ns }, bitsPerSecond);
    } finally {
      route.close();
    }
  } finally {
    closeNetns(ns);
  }
}

/** A backend whose pods keep their limits. Queues come before the backend sends by them. */
export function withBandwidth(backend: Backend, shaper: Shaper): Backend {
  return {
    ...backend,
    async apply(changes) {
      shaper.apply(changes);
      await backend.apply(changes);
    },
    async prune(state) {
      shaper.prune(state.pods);
      return backend.prune(state);
    },
  };
}
