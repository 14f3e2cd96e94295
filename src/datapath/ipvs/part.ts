/** Services by IPVS, as a part of a composed backend: policy and routes are the nftables part's. */
import type { Log } from '../../lib/log.ts';
import type { ServiceCapabilities } from '../backend.ts';
import type { Part } from '../compose.ts';
import { type DeleteFlows, isStale, type ListFlows, unsettled } from '../tracked-flows.ts';
import { relayedFlows } from './relayed-flows.ts';
import { ALGORITHMS } from './schedulers.ts';
import { createIpvsServices, type IpvsServicesDeps } from './services.ts';

export interface IpvsPartDeps extends IpvsServicesDeps {
  /** Ends what conntrack remembers of datagrams to backends that are gone. */
  readonly deleteFlows?: DeleteFlows;
  /** Without it nobody is told beforehand whose connections end with this part. */
  readonly listFlows?: ListFlows;
  /** Calls `work` again and again until it is told to stop; without it those who drain go at the next change. */
  readonly every?: (seconds: number, work: () => void) => () => void;
  readonly log: Log;
}

const services: ServiceCapabilities = {
  kinds: ['ClusterIP', 'NodePort', 'ExternalIP', 'LoadBalancer'],
  algorithms: ALGORITHMS,
  forwarding: ['snat'],
  protocols: ['TCP', 'UDP', 'SCTP'],
  weights: true,
  sourceRanges: true,
  trafficPolicies: true,
  // A client is bound while IPVS remembers one of its connections: two minutes after the end of one of TCP.
  leastAffinitySeconds: 120,
};

const SWEEP_SECONDS = 15;

export function createIpvsPart(deps: IpvsPartDeps): Part {
  const { deleteFlows } = deps;
  const part = createIpvsServices(deps);
  let stop: (() => void) | undefined;

  function sweep(): void {
    try {
      part.sweep();
    } catch (error) {
      deps.log.warn('cannot let backends go whose connections have ended; trying again', {
        error: String(error),
      });
    }
  }

  return {
    name: 'ipvs services',
    capabilities: { sessionAffinity: true, services },
    async apply(changes) {
      const flows = unsettled(changes, part.plan);
      part.apply(changes);
      if (flows.size > 0) deleteFlows?.(isStale(part.plan, flows));
    },
    async prune(state) {
      const mended = part.prune(state);
      deleteFlows?.(isStale(part.plan));
      stop ??= deps.every?.(SWEEP_SECONDS, sweep);
      return mended;
    },
    async verify() {
      return part.verify();
    },
    async translated() {
      return relayedFlows(part.plan, deps.listFlows?.() ?? []);
    },
    async remove() {
      stop?.();
      stop = undefined;
      part.remove();
    },
    close() {
      stop?.();
      part.close();
      deps.nft?.close();
    },
  };
}
