/**
 * Pools that share addresses would give one address to two pods: the later one is refused. So is the removal of one of
 * which nodes have blocks: nobody would know any more that its addresses are in use.
 */
import type { CiliumNode, CiliumPodIpPool } from '../../api/ipam-types.ts';
import { CILIUM_NODE, CILIUM_POD_IP_POOL, type Kind, NODE } from '../../api/kinds.ts';
import { poolOverlap, poolRanges } from '../../api/pod-ip-pool.ts';
import type { Node } from '../../api/types.ts';
import { overlaps, parseCidr, tryParseCidr } from '../../lib/ip.ts';
import { forbidden } from '../failure.ts';
import { objectOf, prefixOf } from '../objects.ts';
import type { Admission } from './chain.ts';

type Store = Parameters<Admission>[1]['store'];

const all = <T>(store: Store, kind: Kind<T>): readonly T[] =>
  store.list(prefixOf(kind)).items.map((entry) => objectOf(entry) as unknown as T);

export const podPools: Admission = (request, { store }) => {
  const { operation, resource, subresource, name } = request;
  if (resource.kind.resource !== CILIUM_POD_IP_POOL.resource || subresource !== '') return;
  if (operation === 'delete') {
    const why = useOf(request.before as unknown as CiliumPodIpPool, store);
    if (why !== undefined) throw forbidden(resource.kind, name, why);
    return;
  }
  const overlap = poolOverlap(
    request.object as unknown as CiliumPodIpPool,
    all<CiliumPodIpPool>(store, CILIUM_POD_IP_POOL),
  );
  if (overlap)
    throw forbidden(
      resource.kind,
      name,
      `its range ${overlap.cidr} overlaps ${overlap.other} of the pool ${overlap.pool}: an address belongs to one pool only`,
    );
};

/** Why a pool cannot go; undefined: no node has anything of it. */
function useOf(pool: CiliumPodIpPool, store: Store): string | undefined {
  const { name } = pool.metadata;
  const first = all<Node>(store, NODE)
    .filter(({ spec }) => (spec?.podCIDRs ?? []).some((cidr) => isOf(pool, cidr)))
    .map(({ metadata }) => metadata.name);
  if (first.length > 0)
    return `${namesText(first)} got the first blocks of it: it stays while there are nodes`;
  const holders = all<CiliumNode>(store, CILIUM_NODE).filter(({ spec }) =>
    spec?.ipam?.pools?.allocated?.some((one) => one.pool === name && (one.cidrs ?? []).length > 0),
  );
  if (holders.length === 0) return undefined;
  const names = holders.map(({ metadata }) => metadata.name);
  return `${namesText(names)} ${names.length === 1 ? 'has' : 'have'} blocks of it: delete the pods with addresses of it first ("heddle ipam addresses --pool ${name}"); blocks without any are given back by themselves`;
}

/** Thousands of nodes are not listed. */
const namesText = (names: readonly string[]): string =>
  names.length > 3
    ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more nodes`
    : `${names.length === 1 ? 'node' : 'nodes'} ${names.join(', ')}`;

function isOf(pool: CiliumPodIpPool, cidr: string): boolean {
  const block = tryParseCidr(cidr);
  return block !== undefined && poolRanges(pool).some((range) => overlaps(parseCidr(range), block));
}
