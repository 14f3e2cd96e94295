/** CiliumBGPAdvertisement, `cilium.io/v2`: what peers are told. */
import { validLink } from './cilium-bgp-peer.ts';
import type { BgpAdvertisement, BgpAttributes, CiliumBgpAdvertisement } from './cilium-bgp-types.ts';
import { inRange, sized, WELL_KNOWN_COMMUNITIES } from './cilium-bgp-words.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { CILIUM_BGP_ADVERTISEMENT } from './kinds.ts';
import { validateLabelSelector } from './label-selector.ts';

const TYPES = ['PodCIDR', 'CiliumPodIPPool', 'Service', 'Interface'];
/** What needs a selector, in words. */
const SELECTED: Readonly<Record<string, string>> = { Service: 'Service', CiliumPodIPPool: 'pool' };
const ADDRESSES = ['LoadBalancerIP', 'ClusterIP', 'ExternalIP'];
const WIDE = 0xffff_ffff;

/** Numbers without leading zeros, so that one community has one spelling. */
const isCommunity = (value: string, parts: number, most: number): boolean =>
  value.split(':').length === parts &&
  value.split(':').every((part) => /^(0|[1-9]\d{0,9})$/.test(part) && Number(part) <= most);

function* validateAttributes(attributes: BgpAttributes | undefined, path: string): Problems {
  const { standard = [], wellKnown = [], large = [] } = attributes?.communities ?? {};
  for (const [i, value] of standard.entries())
    if (!isCommunity(value, 2, 0xffff) && !isCommunity(value, 1, WIDE))
      yield invalid(
        `${path}.communities.standard[${i}]`,
        value,
        'must be two numbers up to 65535 (65000:100), or one up to 4294967295',
      );
  for (const [i, value] of wellKnown.entries())
    if (!Object.hasOwn(WELL_KNOWN_COMMUNITIES, value))
      yield notSupported(`${path}.communities.wellKnown[${i}]`, value, Object.keys(WELL_KNOWN_COMMUNITIES));
  for (const [i, value] of large.entries())
    if (!isCommunity(value, 3, WIDE))
      yield invalid(
        `${path}.communities.large[${i}]`,
        value,
        'must be three numbers up to 4294967295 (65000:1:2)',
      );
  yield* inRange(`${path}.localPreference`, attributes?.localPreference, 0, WIDE);
}

function* validateService({ service }: BgpAdvertisement, path: string): Problems {
  if (!service) {
    yield required(`${path}.service`, "is required for the 'Service' advertisementType");
    return;
  }
  const { addresses, aggregationLengthIPv4, aggregationLengthIPv6 } = service;
  yield* sized(`${path}.service.addresses`, addresses);
  for (const [i, address] of (addresses ?? []).entries())
    if (!ADDRESSES.includes(address))
      yield notSupported(`${path}.service.addresses[${i}]`, address, ADDRESSES);
  yield* inRange(`${path}.service.aggregationLengthIPv4`, aggregationLengthIPv4, 0, 31);
  yield* inRange(`${path}.service.aggregationLengthIPv6`, aggregationLengthIPv6, 0, 127);
}

function* validateOne(advertisement: BgpAdvertisement, path: string): Problems {
  const { advertisementType: type, selector, attributes } = advertisement;
  const at = `${path}.advertisementType`;
  if (!type) yield required(at);
  else if (!TYPES.includes(type)) yield notSupported(at, type, TYPES);
  else if (type === 'Service') yield* validateService(advertisement, path);
  else if (type === 'Interface') {
    if (!advertisement.interface?.name)
      yield required(`${path}.interface.name`, "is required for the 'Interface' advertisementType");
    else yield* validLink(`${path}.interface.name`, advertisement.interface.name);
  }
  yield* validateLabelSelector(selector, `${path}.selector`);
  yield* validateAttributes(attributes, `${path}.attributes`);
}

export const ciliumBgpAdvertisement = define<CiliumBgpAdvertisement>({
  kind: CILIUM_BGP_ADVERTISEMENT,
  singular: 'ciliumbgpadvertisement',
  shortNames: ['cbgpadvert'],
  categories: ['cilium', 'ciliumbgp'],
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Types', 'What is told.', ({ spec }) =>
      [...new Set((spec?.advertisements ?? []).map(({ advertisementType }) => advertisementType))].join(','),
    ),
    ageColumn,
  ],
  *validate({ spec }) {
    if (!spec?.advertisements) {
      yield required('spec.advertisements');
      return;
    }
    for (const [i, each] of spec.advertisements.entries())
      yield* validateOne(each, `spec.advertisements[${i}]`);
  },
  *warnings({ spec }) {
    for (const [i, { advertisementType, selector }] of (spec?.advertisements ?? []).entries())
      if (Object.hasOwn(SELECTED, advertisementType) && !selector)
        yield `spec.advertisements[${i}] has no selector: no ${SELECTED[advertisementType]} is told`;
  },
});
