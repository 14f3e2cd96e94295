/** Speakers' status as metrics, read at each scrape. */
import type { Metrics, Sample } from '../lib/metrics.ts';
import type { NeighbourStatus, SpeakerStatus } from './status.ts';

/** Of one of a node's speakers. */
export interface InstanceStatus extends SpeakerStatus {
  readonly instance: string;
}

export function registerBgpMetrics(metrics: Metrics, all: () => readonly InstanceStatus[]): void {
  const perInstance = (value: (status: SpeakerStatus) => number) => () =>
    all().map((status): Sample => ({ labels: { instance: status.instance }, value: value(status) }));
  const perPeer =
    (values: (peer: NeighbourStatus) => readonly (readonly [Record<string, string>, number])[]) => () =>
      all().flatMap(({ instance, peers }) =>
        peers.flatMap((peer): Sample[] =>
          values(peer).map(([labels, value]) => ({
            labels: { instance, peer: peer.name, ...labels },
            value,
          })),
        ),
      );
  metrics.sampled(
    'gauge',
    'heddle_bgp_peer_up',
    '1 while the session with the peer is established.',
    perPeer(({ state }) => [[{}, state === 'established' ? 1 : 0]]),
  );
  metrics.sampled(
    'counter',
    'heddle_bgp_peer_restarts_total',
    'Sessions with the peer that were established and ended.',
    perPeer(({ restarts }) => [[{}, restarts]]),
  );
  metrics.sampled(
    'gauge',
    'heddle_bgp_prefixes',
    'Prefixes by what became of them: received, used, stale (kept over a restart of the peer), sent.',
    perPeer(({ prefixes }) => Object.entries(prefixes).map(([kind, count]) => [{ kind }, count] as const)),
  );
  metrics.sampled(
    'counter',
    'heddle_bgp_malformed_total',
    'Malformed attributes of updates that were survived, by what was done.',
    perPeer(({ updates }) => [
      [{ approach: 'withdraw' }, updates.withdrawnByError],
      [{ approach: 'discard' }, updates.attributesDiscarded],
    ]),
  );
  metrics.sampled(
    'gauge',
    'heddle_bgp_routes_installed',
    'Learned routes in the kernel.',
    perInstance(({ installed }) => installed),
  );
  metrics.sampled(
    'counter',
    'heddle_bgp_install_failures_total',
    'Routes that the kernel would not take.',
    perInstance(({ installFailures }) => installFailures),
  );
}
