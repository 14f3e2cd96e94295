/** A node's settings with the ranges that it, and the cluster's pods, were given since it was made. Pure. */
import type { CiliumNode, CiliumPodIpPool } from '../../api/ipam-types.ts';
import { poolRanges } from '../../api/pod-ip-pool.ts';
import type { Informer } from '../../client/informer.ts';
import type { Plan } from '../../datapath/plan/plan.ts';
import type { Settings } from '../../datapath/plan/tables.ts';
import { blocksOf, ledgerOf } from '../pod-blocks-ledger.ts';

interface Granted {
  readonly podPools?: Pick<Informer<CiliumPodIpPool>, 'list'>;
  readonly blockHolders?: Pick<Informer<CiliumNode>, 'get'>;
}

export function withGranted(settings: Settings, node: string, { podPools, blockHolders }: Granted): Settings {
  // A pool that nobody may use, or uses, is no reason to treat its addresses otherwise.
  const used = (podPools?.list() ?? []).filter((pool) => Object.keys(ledgerOf(pool).blocks).length > 0);
  return {
    ...settings,
    nodePodCidrs: [...new Set([...settings.nodePodCidrs, ...blocksOf(blockHolders?.get(node))])],
    podCidrs: [...new Set([...settings.podCidrs, ...used.flatMap(poolRanges)])],
  };
}

/** The plan hears of other nodes' blocks, `changed` is told when settings may be others. */
export function watchGranted(
  informers: {
    readonly podPools?: Pick<Informer<CiliumPodIpPool>, 'onChange'>;
    readonly blockHolders?: Pick<Informer<CiliumNode>, 'onChange'>;
  },
  plan: Pick<Plan, 'setNodeBlocks'>,
  changed: () => void,
): void {
  informers.blockHolders?.onChange((key, now) => {
    plan.setNodeBlocks(key, blocksOf(now));
    changed();
  });
  informers.podPools?.onChange(changed);
}
