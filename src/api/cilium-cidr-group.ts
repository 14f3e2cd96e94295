/** Ranges outside of the cluster under a name and labels, for Cilium's policies to name. */
import { tryParseCidr } from '../lib/ip.ts';
import type { CiliumCidrGroup } from './cilium-policy-types.ts';
import { ageColumn, integer, nameColumn } from './columns.ts';
import { define } from './define.ts';
import { invalid, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { CILIUM_CIDR_GROUP } from './kinds.ts';

export const ciliumCidrGroup = define<CiliumCidrGroup>({
  kind: CILIUM_CIDR_GROUP,
  singular: 'ciliumcidrgroup',
  shortNames: ['ccg'],
  categories: ['cilium', 'ciliumpolicy'],
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    integer('CIDRs', 'How many ranges it has.', ({ spec }) => (spec?.externalCIDRs ?? []).length),
    ageColumn,
  ],
  *validate({ spec }) {
    if (!spec?.externalCIDRs) yield required('spec.externalCIDRs');
    for (const [i, text] of (spec?.externalCIDRs ?? []).entries())
      if (!tryParseCidr(text))
        yield invalid(
          `spec.externalCIDRs[${i}]`,
          text,
          'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
        );
  },
});
