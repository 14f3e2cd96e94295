/** Connections that IPVS leads to another address than they asked for: they end with it. */
import type { TranslatedFlow } from '../backend.ts';
import type { PlanState } from '../plan/tables.ts';
import { asksForService, type ListFlows, translated } from '../tracked-flows.ts';

/** IPVS sets none of the kernel's marks of translation on a tracked connection: only its answers tell. */
export function relayedFlows(plan: PlanState, connections: ReturnType<ListFlows>): TranslatedFlow[] {
  return connections
    .filter(
      ({ original, reply }) =>
        asksForService(plan, original) && (reply.src !== original.dst || reply.srcPort !== original.dstPort),
    )
    .map(translated);
}
