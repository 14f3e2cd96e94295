/** Pools that share addresses would give one address to two pods: the later one is refused. */
import type { CiliumPodIpPool } from '../../api/ipam-types.ts';
import { CILIUM_POD_IP_POOL } from '../../api/kinds.ts';
import { poolOverlap } from '../../api/pod-ip-pool.ts';
import { forbidden } from '../failure.ts';
import { objectOf, prefixOf } from '../objects.ts';
import type { Admission } from './chain.ts';

export const podPools: Admission = (request, { store }) => {
  const { operation, resource, subresource, name } = request;
  if (resource.kind.resource !== CILIUM_POD_IP_POOL.resource || operation === 'delete' || subresource !== '')
    return;
  const others = store.list(prefixOf(CILIUM_POD_IP_POOL)).items.map((entry) => objectOf(entry) as unknown);
  const overlap = poolOverlap(
    request.object as unknown as CiliumPodIpPool,
    others as readonly CiliumPodIpPool[],
  );
  if (overlap)
    throw forbidden(
      resource.kind,
      name,
      `its range ${overlap.cidr} overlaps ${overlap.other} of the pool ${overlap.pool}: an address belongs to one pool only`,
    );
};
