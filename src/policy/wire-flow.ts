/** From the words of a user to what packets show. */
import { HeddleError } from '../lib/errors.ts';
import { formatAddress } from '../lib/ip.ts';
import type { WireFlow } from './lookup.ts';
import { buildScene, type End, resolveFlow } from './scene.ts';
import { type Flow, podKey, type World } from './world.ts';

/** @throws HeddleError `UnknownPod`, `BadAddress`, `BadFlow`, also if an end has no address in the flow's family */
export function wireFlow(world: World, flow: Flow): WireFlow {
  const resolved = resolveFlow(buildScene({ ...world, policies: [] }), flow);
  const { src, dst, protocol, port, protocolNumber } = resolved;
  return { src: addressOf(src), dst: addressOf(dst), protocol, port, protocolNumber };
}

function addressOf(end: End): string {
  if (end.type === 'outside') return formatAddress(end.address);
  if (end.address) return formatAddress(end.address);
  const who = end.type === 'pod' ? `pod ${podKey(end.pod)}` : `node ${end.node}`;
  throw new HeddleError(
    'BadFlow',
    `${who} has no address in the flow's family, so no packet can be of this flow`,
  );
}
