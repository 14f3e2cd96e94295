/** What a node tells of its pods' addresses: `GET /ipam` of its agent. */
import type { CiliumPodIpPool } from '../../api/ipam-types.ts';
import type { Usage } from '../../ipam/blocks.ts';
import type { Ipam } from '../../ipam/ipam.ts';
import type { Kept } from '../../ipam/pool.ts';
import { ledgerOf } from '../pod-blocks-ledger.ts';

export interface Reservation {
  readonly name: string;
  readonly cidrs: readonly string[];
}

export interface IpamReport {
  /** Block by block, of this node. */
  readonly usage: readonly Usage[];
  readonly addresses: readonly {
    /** `namespace/name` of the pod. */
    readonly owner: string;
    readonly addresses: readonly string[];
    /** They will wait for the pod when it has gone. */
    readonly sticky: boolean;
  }[];
  readonly kept: readonly Kept[];
  /** `since` in milliseconds since 1970. */
  readonly cooling: readonly { readonly address: string; readonly since: number }[];
  /** As all nodes see them: whose each further block is. */
  readonly pools: readonly {
    readonly name: string;
    readonly spec: CiliumPodIpPool['spec'];
    readonly blocks: Readonly<Record<string, string>>;
    readonly deleting: boolean;
  }[];
  readonly reservations: readonly Reservation[];
}

export const ipamReport = (
  ipam: Pick<Ipam, 'usage' | 'list' | 'kept' | 'cooling'>,
  pools: readonly CiliumPodIpPool[],
  reservations: readonly Reservation[],
): IpamReport => ({
  usage: ipam.usage(),
  addresses: ipam
    .list()
    .filter(({ addresses }) => addresses.length > 0)
    .map(({ label, addresses, sticky }) => ({ owner: label, addresses, sticky: sticky !== undefined })),
  kept: ipam.kept(),
  cooling: ipam.cooling(),
  pools: pools.map((pool) => ({
    name: pool.metadata.name,
    spec: pool.spec,
    blocks: ledgerOf(pool).blocks,
    deleting: pool.metadata.deletionTimestamp !== undefined,
  })),
  reservations,
});
