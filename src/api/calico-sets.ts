/** Tier, NetworkSet and GlobalNetworkSet, `projectcalico.org/v3`. */
import type { CalicoGlobalNetworkSet, CalicoNetworkSet, CalicoTier } from './calico-types.ts';
import { ageColumn, integer, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Label, dns1123Subdomain } from './formats.ts';
import { GLOBAL_NETWORK_SET, NETWORK_SET, TIER } from './kinds.ts';
import { tryParseAddress, tryParseCidr } from '../lib/ip.ts';

/** Tiers that are always there, and their orders, which nobody may change. */
export const STATIC_TIERS: Readonly<Record<string, number>> = {
  adminnetworkpolicy: 1_000,
  'kube-admin': 1_000,
  default: 1_000_000,
  baselineadminnetworkpolicy: 10_000_000,
  'kube-baseline': 10_000_000,
};

export const tier = define<CalicoTier>({
  kind: TIER,
  singular: 'tier',
  name: dns1123Label,
  columns: [
    nameColumn,
    text('Order', 'Lower tiers decide first.', ({ spec }) => String(spec?.order ?? '')),
    text(
      'DefaultAction',
      'For what policies of it apply to and none of their rules decides.',
      ({ spec }) => spec?.defaultAction ?? 'Deny',
    ),
    ageColumn,
  ],
  setDefaults({ spec }) {
    if (spec) spec.defaultAction ??= 'Deny';
  },
  *validate({ metadata, spec }) {
    if (!spec) {
      yield required('spec');
      return;
    }
    const fixed = Object.hasOwn(STATIC_TIERS, metadata.name) ? STATIC_TIERS[metadata.name] : undefined;
    if (fixed !== undefined && spec.order !== fixed)
      yield invalid('spec.order', spec.order, `must be ${fixed}, the place of the tier ${metadata.name}`);
    const { defaultAction = 'Deny' } = spec;
    const isOfKubernetes = fixed === STATIC_TIERS['kube-baseline'] || fixed === STATIC_TIERS['kube-admin'];
    if (!['Deny', 'Pass'].includes(defaultAction))
      yield notSupported('spec.defaultAction', defaultAction, ['Deny', 'Pass']);
    else if (isOfKubernetes && defaultAction !== 'Pass')
      yield invalid('spec.defaultAction', defaultAction, `must be Pass, as of the tier ${metadata.name}`);
  },
});

function* validateSet({ metadata, spec }: CalicoNetworkSet | CalicoGlobalNetworkSet): Problems {
  const label = 'projectcalico.org/namespace';
  if (Object.hasOwn(metadata.labels ?? {}, label))
    yield invalid('metadata.labels', label, 'is given by the namespace, and cannot be set');
  for (const [i, net] of (spec?.nets ?? []).entries())
    if (!tryParseCidr(net) && !tryParseAddress(net))
      yield invalid(
        `spec.nets[${i}]`,
        net,
        'must be an address or a CIDR (e.g. 10.9.8.0/24 or 2001:db8::/64)',
      );
}

const nets = integer(
  'Nets',
  'How many ranges it has.',
  ({ spec }: CalicoNetworkSet | CalicoGlobalNetworkSet) => (spec?.nets ?? []).length,
);

export const networkSet = define<CalicoNetworkSet>({
  kind: NETWORK_SET,
  singular: 'networkset',
  shortNames: ['netset'],
  name: dns1123Subdomain,
  columns: [nameColumn, nets, ageColumn],
  validate: validateSet,
});

export const globalNetworkSet = define<CalicoGlobalNetworkSet>({
  kind: GLOBAL_NETWORK_SET,
  singular: 'globalnetworkset',
  shortNames: ['gns'],
  name: dns1123Subdomain,
  columns: [nameColumn, nets, ageColumn],
  validate: validateSet,
});
