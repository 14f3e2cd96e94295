/** Whether packets as large as pods' may be reach the other nodes: who asks, who answers, and what is known of it. */
import type { ClusterConfig, NodeConfig } from '../cluster/config.ts';
import { probeAddress } from '../datapath/path/address.ts';
import { openPathEnds } from '../datapath/path/ends.ts';
import { exposePaths } from '../datapath/path/metrics.ts';
import { createPathWatch, type PathWatch } from '../datapath/path/watch.ts';
import { type PlanState, SETTINGS_KEY } from '../datapath/plan/tables.ts';
import { routingOf } from '../datapath/routing.ts';
import type { Route } from '../kernel/route.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { NodeWay } from './node-way.ts';

/** Of the uplink, where the cluster says nothing else. */
const UNDERLAY_MTU = 1500;

export interface PathProofsDeps {
  readonly config: Pick<ClusterConfig, 'underlayMtu'>;
  readonly self: NodeConfig;
  readonly route: Route;
  readonly state: Pick<PlanState, 'routes' | 'settings'>;
  readonly way: Pick<NodeWay, 'now'>;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Log;
}

export interface PathProofs {
  readonly watch: PathWatch;
  close(): void;
}

export function openPathProofs(deps: PathProofsDeps): PathProofs {
  const { config, self, route, state, way, metrics, clock, log } = deps;
  const probed = self.podCidrs.map(probeAddress);
  for (const address of probed)
    route.replaceAddress('lo', `${address}/${address.includes(':') ? 128 : 32}`, {
      nodad: true,
      noSource: true,
    });
  const ends = openPathEnds({ addresses: [...self.addresses, ...probed], log });
  const watch = createPathWatch({
    probe: ends.probe,
    silent: ends.silent,
    nodes: () => [...state.routes.values()],
    node: self.name,
    encapsulation: () => routingOf(state.settings.get(SETTINGS_KEY)).sends,
    podMtu: () => way.now().limit ?? way.now().mtu,
    underlayMtu: config.underlayMtu ?? UNDERLAY_MTU,
    clock,
    log,
  });
  exposePaths(metrics, watch);
  return { watch, close: ends.close };
}
