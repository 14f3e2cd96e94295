/** A flow that is asked about, and what the objects that Heddle writes for it have in common. */
import { STAGE } from '../../api/labels.ts';
import type { ObjectMeta } from '../../api/types.ts';
import { formatAddress } from '../../lib/ip.ts';
import { type Estate, type Workload } from '../analyse/estate.ts';
import { workloadOfPod } from '../analyse/identify.ts';
import { ends } from '../decide.ts';
import type { Direction, PolicyRef } from '../decision.ts';
import { httpOf, type HttpRequest } from '../request.ts';
import { type End, namespaceStages, type ResolvedFlow, type Scene } from '../scene.ts';
import { freeName } from './edit.ts';

export interface Asked {
  /** As it is after the edits before. */
  readonly estate: Estate;
  readonly scene: Scene;
  readonly flow: ResolvedFlow;
}

/** The workload at which a direction is enforced; undefined where that is none. */
export function workloadAt({ estate, flow }: Asked, direction: Direction): Workload | undefined {
  const { here } = ends(flow, direction);
  return here.type === 'pod' ? workloadOfPod(estate, here.pod) : undefined;
}

/** `10.0.0.1/32`; undefined where it is not known. */
export const blockOfEnd = ({ address }: End): string | undefined =>
  address && `${formatAddress(address)}/${address.family === 4 ? 32 : 128}`;

/** As proxies read it; undefined where the flow is none of HTTP. */
export const httpAsked = ({ flow }: Asked): HttpRequest | undefined => flow.request && httpOf(flow.request);

/** Of a new object: a name of its own, enforced whatever its namespace says. */
export function metadataFor(
  { estate: { world } }: Asked,
  of: Omit<PolicyRef, 'name'>,
  base: string,
): ObjectMeta {
  const isAudited = namespaceStages(world.namespaces).get(of.namespace) === 'audit';
  return {
    ...(of.namespace === '' ? {} : { namespace: of.namespace }),
    name: freeName(world, of, base),
    ...(isAudited ? { labels: { [STAGE]: 'enforce' } } : {}),
  };
}

/** `cart-ingress-tcp-8080` */
export function baseName({ name }: Workload, direction: Direction, { protocol, port }: ResolvedFlow): string {
  const what = port === undefined ? protocol.toLowerCase() : `${protocol.toLowerCase()}-${port}`;
  return `${name}-${direction}-${what}`;
}
