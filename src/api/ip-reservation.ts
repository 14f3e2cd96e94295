/** IPReservation: addresses that no pod is given unless it asks for the very one. */
import { tryParseAddress, tryParseCidr } from '../lib/ip.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { invalid, type Problems } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import type { CalicoIpReservation } from './ipam-types.ts';
import { CALICO_STORED_IP_RESERVATION, IP_RESERVATION, type Kind } from './kinds.ts';

function* validate({ spec }: CalicoIpReservation): Problems {
  for (const [i, cidr] of (spec?.reservedCIDRs ?? []).entries())
    if (!tryParseCidr(cidr) && !tryParseAddress(cidr))
      yield invalid(
        `spec.reservedCIDRs[${i}]`,
        cidr,
        'must be an address or a CIDR (e.g. 10.9.8.7, 10.9.8.0/24 or 2001:db8::/64)',
      );
}

const reservation = (kind: Kind<CalicoIpReservation>) =>
  define<CalicoIpReservation>({
    kind,
    singular: 'ipreservation',
    name: dns1123Subdomain,
    columns: [
      nameColumn,
      text('Reserved', 'What is not given.', ({ spec }) => (spec?.reservedCIDRs ?? []).join(',')),
      ageColumn,
    ],
    validate,
  });

export const ipReservation = reservation(IP_RESERVATION);
/** As Calico stores it, and as it is written where Calico's own API server does not run. */
export const storedIpReservation = reservation(CALICO_STORED_IP_RESERVATION);
