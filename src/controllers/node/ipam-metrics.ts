/** How full the node's blocks of pods' addresses are, for `GET /metrics`. */
import type { Ipam } from '../../ipam/ipam.ts';
import { sumByPool } from '../../ipam/blocks.ts';
import type { Counter, Metrics, Sample } from '../../lib/metrics.ts';

export interface IpamMetrics {
  /** What of the address book and the kernel did not agree, and was put right. */
  readonly repaired: Counter;
}

export function exposeIpam(metrics: Metrics, ipam: Pick<Ipam, 'usage'>): IpamMetrics {
  const familyOf = (cidr: string | undefined) => (cidr?.includes(':') ? 'IPv6' : 'IPv4');
  metrics.sampled('gauge', 'heddle_ipam_addresses', 'Addresses of the node’s blocks, by what they are.', () =>
    sumByPool(ipam.usage()).flatMap(({ pool, cidrs, taken, cooling, kept, reserved, free }): Sample[] =>
      Object.entries({
        taken,
        cooling,
        kept,
        reserved,
        free,
      }).map(([state, value]) => ({ labels: { pool, family: familyOf(cidrs[0]), state }, value })),
    ),
  );
  metrics.sampled('gauge', 'heddle_ipam_blocks', 'Blocks that the node has of each pool.', () =>
    sumByPool(ipam.usage()).map(({ pool, cidrs }) => ({
      labels: { pool, family: familyOf(cidrs[0]) },
      value: cidrs.length,
    })),
  );
  const repaired = metrics.counter(
    'heddle_ipam_leaks_repaired_total',
    'Links and addresses without an owner that were taken back, and addresses and routes of pods that were put right.',
  );
  repaired.inc({}, 0);
  return { repaired };
}
