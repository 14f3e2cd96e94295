/** CiliumBGPClusterConfig, what becomes of it on each node, and what a node does otherwise: `cilium.io/v2`. */
import { tryParseAddress } from '../lib/ip.ts';
import type {
  BgpAutoDiscovery,
  BgpInstance,
  BgpInstanceOverride,
  BgpNodeInstance,
  BgpNodePeer,
  BgpPeer,
  CiliumBgpClusterConfig,
  CiliumBgpNodeConfig,
  CiliumBgpNodeConfigOverride,
} from './cilium-bgp-types.ts';
import { inRange, namedOnce, refused, sized, validAddress, validAsn } from './cilium-bgp-words.ts';
import { ageColumn, integer, nameColumn, text } from './columns.ts';
import { define } from './define.ts';
import { forbidden, invalid, notSupported, type Problems, required } from './field-error.ts';
import { dns1123Subdomain } from './formats.ts';
import {
  CILIUM_BGP_CLUSTER_CONFIG,
  CILIUM_BGP_NODE_CONFIG,
  CILIUM_BGP_NODE_CONFIG_OVERRIDE,
} from './kinds.ts';
import { validateLabelSelector } from './label-selector.ts';

const MAX_INSTANCES = 16;
const categories = ['cilium', 'ciliumbgp'];
const isLinkLocal = (address: string) => /^fe[89ab]/i.test(address);

function* validateDiscovery(discovery: BgpAutoDiscovery | undefined, path: string): Problems {
  if (!discovery) return;
  const { mode, defaultGateway } = discovery;
  if (mode === 'Unnumbered') yield refused(`${path}.mode`, 'BGP unnumbered (Unnumbered)');
  else if (mode !== 'DefaultGateway')
    yield notSupported(`${path}.mode`, mode, ['DefaultGateway', 'Unnumbered']);
  else if (!defaultGateway)
    yield required(`${path}.defaultGateway`, 'must be set when mode is DefaultGateway');
  else if (!['ipv4', 'ipv6'].includes(defaultGateway.addressFamily))
    yield notSupported(`${path}.defaultGateway.addressFamily`, defaultGateway.addressFamily, [
      'ipv4',
      'ipv6',
    ]);
}

function* validatePeer(peer: BgpPeer & BgpNodePeer, path: string): Problems {
  const { peerAddress, peerASN, autoDiscovery, peerConfigRef, peerInterface } = peer;
  yield* validAddress(`${path}.peerAddress`, peerAddress);
  yield* validateDiscovery(autoDiscovery, `${path}.autoDiscovery`);
  if (peerAddress === undefined && !autoDiscovery)
    yield required(`${path}.peerAddress`, 'one of peerAddress or autoDiscovery must be set');
  if (peerAddress !== undefined && isLinkLocal(peerAddress) && peerInterface === undefined)
    yield invalid(
      `${path}.peerAddress`,
      peerAddress,
      'is of one link only, and no link can be named: use another address of the peer',
    );
  if (peerASN === undefined || peerASN === 0)
    yield required(
      `${path}.peerASN`,
      'peers whose AS number is taken from their OPEN message (0) are not supported: name it',
    );
  else yield* validAsn(`${path}.peerASN`, peerASN);
  if (peerConfigRef && !peerConfigRef.name) yield required(`${path}.peerConfigRef.name`);
}

function* validateNodePeer(peer: BgpNodePeer, path: string): Problems {
  const { localAddress, peerAddress, peerInterface } = peer;
  yield* validatePeer(peer, path);
  yield* validAddress(`${path}.localAddress`, localAddress);
  if (peerInterface === undefined) return;
  if (peerAddress !== undefined && !isLinkLocal(peerAddress))
    yield invalid(
      `${path}.peerAddress`,
      peerAddress,
      'must be an IPv6 link-local address (fe80::/10) when peerInterface is set',
    );
  if (localAddress !== undefined)
    yield forbidden(`${path}.localAddress`, 'must not be set when peerInterface is set');
}

function* validateInstances(
  instances: readonly (BgpInstance & BgpNodeInstance)[] | undefined,
  peerRules: (peer: BgpNodePeer, path: string) => Problems,
): Problems {
  const path = 'spec.bgpInstances';
  yield* sized(path, instances, MAX_INSTANCES);
  yield* namedOnce(path, instances ?? []);
  const ports = new Map<number, string>();
  for (const [i, { name, localASN, localPort, routerID, peers = [] }] of (instances ?? []).entries()) {
    const at = `${path}[${i}]`;
    yield* validAsn(`${at}.localASN`, localASN);
    yield* inRange(`${at}.localPort`, localPort, 1, 65535);
    yield* validAddress(`${at}.routerID`, routerID, 4);
    const other = localPort === undefined ? undefined : ports.get(localPort);
    if (other !== undefined) yield invalid(`${at}.localPort`, localPort, `instance ${other} listens there`);
    if (localPort !== undefined) ports.set(localPort, name);
    yield* namedOnce(`${at}.peers`, peers);
    for (const [j, peer] of peers.entries()) yield* peerRules(peer, `${at}.peers[${j}]`);
    yield* distinctAddresses(peers, `${at}.peers`);
  }
}

function* distinctAddresses(peers: readonly BgpNodePeer[], path: string): Problems {
  const seen = new Map<string, string>();
  for (const [i, { name, peerAddress, peerInterface }] of peers.entries()) {
    const address = tryParseAddress(peerAddress ?? '');
    if (!address) continue;
    const key = `${address.family} ${address.value} ${peerInterface ?? ''}`;
    const other = seen.get(key);
    if (other !== undefined)
      yield invalid(`${path}[${i}].peerAddress`, peerAddress, `is peer ${other}’s too`);
    seen.set(key, name);
  }
}

/** As the CRD, where 0 stands for "whatever its OPEN says". */
function setPeerDefaults(instances: readonly BgpInstance[] | undefined): void {
  for (const { peers = [] } of instances ?? []) for (const peer of peers) peer.peerASN ??= 0;
}

const peersOf = (instances: readonly BgpInstance[] | undefined): number =>
  (instances ?? []).reduce((sum, { peers = [] }) => sum + peers.length, 0);

/** The reasons that hold, short. */
const problemsOf = ({ status }: CiliumBgpClusterConfig): string =>
  (status?.conditions ?? [])
    .filter(({ type, status: is }) => type.startsWith('cilium.io/') && is === 'True')
    .map(({ reason }) => reason)
    .join(',');

export const ciliumBgpClusterConfig = define<CiliumBgpClusterConfig>({
  kind: CILIUM_BGP_CLUSTER_CONFIG,
  singular: 'ciliumbgpclusterconfig',
  shortNames: ['cbgpcluster'],
  categories,
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [
    nameColumn,
    integer('Peers', 'How many peers each of its nodes has.', ({ spec }) => peersOf(spec?.bgpInstances)),
    text('Problems', 'What is wrong with it, as far as anybody has said.', problemsOf),
    ageColumn,
  ],
  setDefaults: ({ spec }) => setPeerDefaults(spec?.bgpInstances),
  *validate({ spec }) {
    if (!spec) {
      yield required('spec');
      return;
    }
    yield* validateLabelSelector(spec.nodeSelector, 'spec.nodeSelector');
    yield* validateInstances(spec.bgpInstances, validatePeer);
  },
});

const sessionsOf = ({ status }: CiliumBgpNodeConfig): string => {
  const peers = (status?.bgpInstances ?? []).flatMap((instance) => instance.peers ?? []);
  const up = peers.filter(({ peeringState }) => peeringState === 'established').length;
  return `${up}/${peers.length}`;
};

export const ciliumBgpNodeConfig = define<CiliumBgpNodeConfig>({
  kind: CILIUM_BGP_NODE_CONFIG,
  singular: 'ciliumbgpnodeconfig',
  shortNames: ['cbgpnode'],
  categories,
  hasStatus: true,
  name: dns1123Subdomain,
  columns: [nameColumn, text('Established', 'Sessions that stand, of all.', sessionsOf), ageColumn],
  setDefaults: ({ spec }) => setPeerDefaults(spec?.bgpInstances),
  *validate({ spec }) {
    if (!spec) {
      yield required('spec');
      return;
    }
    yield* validateInstances(spec.bgpInstances, validateNodePeer);
  },
});

function* validateOverride(instance: BgpInstanceOverride, path: string): Problems {
  const { routerID, localPort, localASN, peers = [] } = instance;
  yield* validAddress(`${path}.routerID`, routerID, 4);
  yield* inRange(`${path}.localPort`, localPort, 1, 65535);
  yield* validAsn(`${path}.localASN`, localASN);
  yield* namedOnce(`${path}.peers`, peers);
  for (const [i, { localAddress }] of peers.entries())
    yield* validAddress(`${path}.peers[${i}].localAddress`, localAddress);
}

export const ciliumBgpNodeConfigOverride = define<CiliumBgpNodeConfigOverride>({
  kind: CILIUM_BGP_NODE_CONFIG_OVERRIDE,
  singular: 'ciliumbgpnodeconfigoverride',
  shortNames: ['cbgpnodeoverride'],
  categories,
  name: dns1123Subdomain,
  columns: [nameColumn, ageColumn],
  *validate({ spec }) {
    if (!spec) {
      yield required('spec');
      return;
    }
    yield* sized('spec.bgpInstances', spec.bgpInstances);
    yield* namedOnce('spec.bgpInstances', spec.bgpInstances ?? []);
    for (const [i, instance] of (spec.bgpInstances ?? []).entries())
      yield* validateOverride(instance, `spec.bgpInstances[${i}]`);
  },
  *warnings({ spec }) {
    for (const { name, peers = [] } of spec?.bgpInstances ?? [])
      for (const peer of peers)
        if (peer.localPort !== undefined)
          yield `spec.bgpInstances[${name}].peers[${peer.name}].localPort has no effect: the kernel chooses it`;
  },
});
