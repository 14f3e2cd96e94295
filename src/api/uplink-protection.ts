/** Whom nodes do not hear at their uplink, and how much of everybody else. */
import { tryParseCidr } from '../lib/ip.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { invalid, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { UPLINK_PROTECTION } from './kinds.ts';
import { validateLabelSelector } from './label-selector.ts';
import type { RateLimit, UplinkProtection } from './types.ts';

/** Above it a nanosecond would not tell one packet from the next. */
const MOST = 100_000_000;

function* validateRate(rate: RateLimit | undefined, at: string): Problems {
  if (!rate) return;
  for (const field of ['perSecond', 'burst'] as const) {
    const value = rate[field];
    if (value === undefined && field === 'burst') continue;
    if (!Number.isInteger(value) || Number(value) < 1 || Number(value) > MOST)
      yield invalid(`${at}.${field}`, value, `must be between 1 and ${MOST}, inclusive`);
  }
}

function* validate({ spec }: UplinkProtection): Problems {
  if (!spec) {
    yield required('spec');
    return;
  }
  for (const [i, cidr] of (spec.denied ?? []).entries())
    if (!tryParseCidr(cidr))
      yield invalid(
        `spec.denied[${i}]`,
        cidr,
        'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
      );
  for (const name of ['packets', 'connections', 'allConnections'] as const)
    yield* validateRate(spec.limits?.[name], `spec.limits.${name}`);
  yield* validateLabelSelector(spec.nodeSelector, 'spec.nodeSelector');
}

const rateText = (rate: RateLimit | undefined): string => (rate ? `${rate.perSecond}/s` : '');

export const uplinkProtection = define<UplinkProtection>({
  kind: UPLINK_PROTECTION,
  singular: 'uplinkprotection',
  shortNames: ['uprot'],
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Denied', 'How many ranges are denied.', ({ spec }) => String(spec?.denied?.length ?? 0)),
    text('Packets', 'Packets that a source may send.', ({ spec }) => rateText(spec?.limits?.packets)),
    text('Connections', 'Connections that a source may begin.', ({ spec }) =>
      rateText(spec?.limits?.connections),
    ),
    ageColumn,
  ],
  validate,
});
