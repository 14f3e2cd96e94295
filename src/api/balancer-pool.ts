/** Pools of addresses for Services of type LoadBalancer, as Cilium writes them. */
import { tryParseAddress, tryParseCidr } from '../lib/ip.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { forbidden, invalid, oneOf, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { LOAD_BALANCER_IP_POOL } from './kinds.ts';
import { validateLabelSelector } from './label-selector.ts';
import type { LoadBalancerIpPool } from './types.ts';

type Block = NonNullable<LoadBalancerIpPool['spec']['blocks']>[number];

function* validateBlock(block: Block, at: string): Problems {
  const { cidr, start, stop } = block;
  if (cidr !== undefined && cidr !== '') {
    if (!tryParseCidr(cidr))
      yield invalid(`${at}.cidr`, cidr, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)');
    for (const [name, value] of [
      ['start', start],
      ['stop', stop],
    ] as const)
      if (value) yield forbidden(`${at}.${name}`, 'may not be used with `cidr`');
    return;
  }
  if (!start) {
    yield required(at, 'must have `cidr`, or `start`');
    return;
  }
  const [first, last] = [start, stop ? stop : start].map(tryParseAddress);
  const words = 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)';
  if (!first) yield invalid(`${at}.start`, start, words);
  if (!last) yield invalid(`${at}.stop`, stop, words);
  if (first && last && (first.family !== last.family || first.value > last.value))
    yield invalid(`${at}.stop`, stop, 'must be of the family of `start` and not before it');
}

function* validate({ spec }: LoadBalancerIpPool): Problems {
  if (!spec) {
    yield required('spec');
    return;
  }
  for (const [i, block] of (spec.blocks ?? []).entries()) yield* validateBlock(block, `spec.blocks[${i}]`);
  yield* validateLabelSelector(spec.serviceSelector, 'spec.serviceSelector');
  if (spec.allowFirstLastIPs) yield* oneOf('spec.allowFirstLastIPs', spec.allowFirstLastIPs, ['No', 'Yes']);
}

const condition = (pool: LoadBalancerIpPool, type: string) =>
  pool.status?.conditions?.find((one) => one.type === type);

export const loadBalancerIpPool = define<LoadBalancerIpPool>({
  kind: LOAD_BALANCER_IP_POOL,
  singular: 'ciliumloadbalancerippool',
  shortNames: ['ippools', 'ippool', 'lbippool', 'lbippools'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Disabled', 'Whether addresses are given out of it.', (pool) =>
      String(pool.spec?.disabled ?? false),
    ),
    text(
      'Conflicting',
      'Whether another pool has some of its addresses.',
      (pool) => condition(pool, 'cilium.io/PoolConflict')?.status ?? '',
    ),
    text(
      'IPs Available',
      'Addresses left.',
      (pool) => condition(pool, 'cilium.io/IPsAvailable')?.message ?? '',
    ),
    ageColumn,
  ],
  setDefaults(pool) {
    if (pool.spec) pool.spec.disabled ??= false;
  },
  validate,
});
