/** The controllers of a cluster, side by side in one process. */
import type { PodTakes } from '../api/pod-room.ts';
import { createEventRecorder } from '../client/events.ts';
import type { Client } from '../client/types.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { Task } from '../lib/tasks.ts';
import { type BalancerRange, createBalancerController } from './balancer.ts';
import { createBgpController } from './bgp.ts';
import { createDeploymentController } from './deployment.ts';
import { createEndpointSliceController } from './endpointslice.ts';
import { createGarbageCollector } from './garbage.ts';
import { createClusterInformers } from './informers.ts';
import type { ControllerDeps } from './loop.ts';
import { createNamespaceController } from './namespace.ts';
import { createNodeLifecycleController } from './node-lifecycle.ts';
import { createNodeRangesController } from './node-ranges.ts';
import type { NodeMask } from './node-ranges-plan.ts';
import { createPodGarbageCollector } from './pod-gc.ts';
import { createPolicyStatusController } from './policy-status.ts';
import { createReplicaSetController } from './replicaset.ts';
import { createScheduler } from './scheduler.ts';
import { createServiceAccountController } from './service-account.ts';

export interface ControllersOptions {
  client: Client;
  /** PEM of the authority that pods trust the API server by. */
  ca: string;
  podCidrs: readonly string[];
  /** By node name: pod ranges meant for it. */
  meantRanges?: ReadonlyMap<string, readonly string[]>;
  /** Length of the blocks that nodes get of the pod ranges. */
  nodeMask?: NodeMask | undefined;
  /** Ranges of nodes and Services. */
  occupied?: readonly string[];
  /** Addresses of the pool for Services of type LoadBalancer that a new cluster has. */
  balancerRanges?: readonly BalancerRange[];
  /** What of a node's room a pod takes. Default: what it requests. */
  takes?: PodTakes | undefined;
  log: Log;
  metrics: Metrics;
  clock?: Clock;
}

/** In the order to start them: the shared copies first, and last to end. */
export function clusterControllers(options: ControllersOptions): Task[] {
  const { client, ca, podCidrs, meantRanges, balancerRanges, log, metrics, clock = systemClock } = options;
  const informers = createClusterInformers(client, log);
  const deps: ControllerDeps = {
    client,
    informers,
    log,
    metrics,
    clock,
    recorder: (component) => createEventRecorder(client, { component, log, clock }),
  };
  const controllers = [
    createNamespaceController(deps),
    createServiceAccountController(deps, { ca }),
    createNodeRangesController(deps, {
      podCidrs,
      meant: meantRanges,
      mask: options.nodeMask,
      occupied: options.occupied ?? [],
    }),
    createNodeLifecycleController(deps),
    createScheduler(deps, { takes: options.takes }),
    createReplicaSetController(deps),
    createDeploymentController(deps),
    createEndpointSliceController(deps),
    createBalancerController(deps, { ranges: balancerRanges }),
    createBgpController(deps),
    createPolicyStatusController(deps),
    createPodGarbageCollector(deps),
    createGarbageCollector(deps),
  ];
  return [{ name: 'informers', run: informers.run }, ...controllers];
}
