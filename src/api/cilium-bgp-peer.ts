/** CiliumBGPPeerConfig, `cilium.io/v2`: how sessions are held, and what is told in them. */
import type { BgpFamily, CiliumBgpPeerConfig } from './cilium-bgp-types.ts';
import { inRange, refused, validImport } from './cilium-bgp-words.ts';
import { ageColumn, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { duplicate, invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import { CILIUM_BGP_PEER_CONFIG } from './kinds.ts';
import { validateLabelSelector } from './label-selector.ts';

type Spec = CiliumBgpPeerConfig['spec'];

const AFIS = ['ipv4', 'ipv6', 'l2vpn', 'ls', 'opaque'];
const SAFIS =
  'unicast multicast mpls_label encapsulation vpls evpn ls sr_policy mup mpls_vpn mpls_vpn_multicast route_target_constraints flowspec_unicast flowspec_vpn key_value'.split(
    ' ',
  );
const MAX_RETRY = 2_147_483_647;

function setDefaults({ spec }: CiliumBgpPeerConfig): void {
  if (!spec) return;
  spec.ebgpMultihop ??= 1;
  if (spec.transport) spec.transport.peerPort ??= 179;
  if (spec.gracefulRestart) spec.gracefulRestart.restartTimeSeconds ??= 120;
  if (!spec.timers) return;
  spec.timers.connectRetryTimeSeconds ??= 120;
  spec.timers.holdTimeSeconds ??= 90;
  spec.timers.keepAliveTimeSeconds ??= 30;
}

function* validateTimers({ timers, gracefulRestart }: Spec): Problems {
  const { connectRetryTimeSeconds, holdTimeSeconds, keepAliveTimeSeconds } = timers ?? {};
  yield* inRange('spec.timers.connectRetryTimeSeconds', connectRetryTimeSeconds, 1, MAX_RETRY);
  yield* inRange('spec.timers.holdTimeSeconds', holdTimeSeconds, 3, 65535);
  yield* inRange('spec.timers.keepAliveTimeSeconds', keepAliveTimeSeconds, 1, 65535);
  if ((keepAliveTimeSeconds ?? 0) > (holdTimeSeconds ?? Infinity))
    yield invalid('spec.timers', 'object', 'keepAliveTimeSeconds can not be larger than holdTimeSeconds');
  yield* inRange('spec.gracefulRestart.restartTimeSeconds', gracefulRestart?.restartTimeSeconds, 1, 4095);
  if (gracefulRestart && gracefulRestart.enabled === undefined)
    yield required('spec.gracefulRestart.enabled');
}

function* validateFamilies(families: readonly BgpFamily[]): Problems {
  const seen = new Set<string>();
  for (const [i, { afi, safi, advertisements }] of families.entries()) {
    const at = `spec.families[${i}]`;
    if (!afi) yield required(`${at}.afi`);
    else if (!AFIS.includes(afi)) yield notSupported(`${at}.afi`, afi, AFIS);
    else if (!afi.startsWith('ip')) yield refused(`${at}.afi`, `the family ${afi}`);
    if (!safi) yield required(`${at}.safi`);
    else if (!SAFIS.includes(safi)) yield notSupported(`${at}.safi`, safi, SAFIS);
    else if (safi !== 'unicast') yield refused(`${at}.safi`, `the family ${safi}`);
    if (seen.has(`${afi}/${safi}`)) yield duplicate(at, `${afi}/${safi}`);
    seen.add(`${afi}/${safi}`);
    yield* validateLabelSelector(advertisements, `${at}.advertisements`);
  }
}

/** `IFNAMSIZ`, and what the kernel takes for a name. */
export function* validLink(path: string, name: string | undefined): Problems {
  if (name !== undefined && !/^[^\s/:]{1,15}$/.test(name))
    yield invalid(path, name, 'must be the name of a link: 1 to 15 characters without blanks, / and :');
}

export const ciliumBgpPeerConfig = define<CiliumBgpPeerConfig>({
  kind: CILIUM_BGP_PEER_CONFIG,
  singular: 'ciliumbgppeerconfig',
  shortNames: ['cbgppeer'],
  categories: ['cilium', 'ciliumbgp'],
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    text('Families', 'What is spoken of.', ({ spec }) =>
      (spec?.families ?? []).map(({ afi, safi }) => `${afi}/${safi}`).join(','),
    ),
    ageColumn,
  ],
  setDefaults,
  *validate({ metadata, spec }) {
    if (!spec) {
      yield required('spec');
      return;
    }
    yield* validImport(metadata.annotations);
    yield* inRange('spec.transport.peerPort', spec.transport?.peerPort, 1, 65535);
    yield* validLink('spec.transport.sourceInterface', spec.transport?.sourceInterface);
    yield* inRange('spec.ebgpMultihop', spec.ebgpMultihop, 1, 255);
    yield* validateTimers(spec);
    yield* validateFamilies(spec.families ?? []);
    if (spec.authSecretRef === '') yield required('spec.authSecretRef', 'must be the name of a Secret');
  },
});
