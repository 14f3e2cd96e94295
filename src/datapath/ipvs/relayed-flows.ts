/** Connections that IPVS leads to another address than they asked for: they end with it. */
import type { TranslatedFlow } from '../backend.ts';
import { frontendKey, type PlanState } from '../plan/tables.ts';
import type { ListFlows } from '../tracked-flows.ts';
import { PROTOCOLS } from './virtual.ts';

const NAMES = new Map(Object.entries(PROTOCOLS).map(([name, number]) => [number, name]));

/** IPVS sets none of the kernel's marks of translation on a tracked connection: only its answers tell. */
export function relayedFlows(plan: PlanState, connections: ReturnType<ListFlows>): TranslatedFlow[] {
  return connections
    .filter(({ original, reply }) => {
      const protocol = NAMES.get(original.protocol);
      const key = frontendKey({ address: original.dst, protocol: protocol ?? '', port: original.dstPort });
      return plan.services.has(key) && (reply.src !== original.dst || reply.srcPort !== original.dstPort);
    })
    .map(({ original, reply }) => ({
      protocol: original.protocol,
      client: original.src,
      clientPort: original.srcPort,
      address: original.dst,
      port: original.dstPort,
      backend: reply.src,
      backendPort: reply.srcPort,
    }));
}
