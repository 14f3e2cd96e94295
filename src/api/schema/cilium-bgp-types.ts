/** Field lists of Cilium's BGP control plane, `cilium.io/v2`. What must be there is checked by validation. */
import type { Definition, Field, FieldType } from './model.ts';

const META = 'io.k8s.apimachinery.pkg.apis.meta.v1';
const V2 = 'io.k8s.api.cilium.io.v2';

const ref = (name: string): FieldType => ({ r: name });
const own = (name: string): FieldType => ref(`${V2}.${name}`);
const listOf = (type: FieldType): FieldType => ({ a: type });
const text = (description: string): Field => ['s', description];
const whole = (description: string): Field => ['i', description];
const selector = (description: string): Field => [ref(`${META}.LabelSelector`), description];
const conditions = (description: string): Definition => ({
  d: 'What became of it.',
  p: { conditions: [listOf(ref(`${META}.Condition`)), description] },
});

/** An object and its list. */
const kind = (name: string, description: string, fields: Definition['p']): Record<string, Definition> => ({
  [`${V2}.${name}`]: {
    d: description,
    p: {
      apiVersion: ['s', 'Group and version of the object.', 1],
      kind: ['s', 'Kind of the object.', 1],
      metadata: [ref(`${META}.ObjectMeta`), 'Name and labels.'],
      ...fields,
    },
  },
  [`${V2}.${name}List`]: {
    d: `A list of objects of kind ${name}.`,
    p: {
      apiVersion: ['s', 'Group and version of the object.', 1],
      kind: ['s', 'Kind of the object.', 1],
      metadata: [ref(`${META}.ListMeta`), 'Revision of the list.'],
      items: [listOf(own(name)), 'The objects.', 1],
    },
  },
});

const NAME = text('1 to 255 characters, unique here.');
const ASN = whole('AS number, 1 to 4294967295.');
const PORT = whole('Port at which it listens. Absent: nobody can connect, it connects itself.');
const REFERENCE: Field = [
  own('PeerConfigReference'),
  'How the session is held and what is told. Absent: the defaults, and nothing.',
];
const PEER: Definition['p'] = {
  name: NAME,
  peerAddress: text('Address of the peer. Absent where autoDiscovery finds it.'),
  peerASN: whole('AS number of the peer. 0 (whatever its OPEN says) is refused.'),
  autoDiscovery: [own('BGPAutoDiscovery'), 'Where the peer is found, instead of peerAddress.'],
  peerConfigRef: REFERENCE,
};
const status = (name: string): Field => [own(name), 'What became of it.'];

export const CILIUM_BGP_TYPES: Readonly<Record<string, Definition>> = {
  ...kind('CiliumBGPClusterConfig', 'CiliumBGPClusterConfig says which nodes speak BGP with whom.', {
    spec: [own('CiliumBGPClusterConfigSpec'), 'Which nodes, with whom.', 1],
    status: status('CiliumBGPClusterConfigStatus'),
  }),
  [`${V2}.CiliumBGPClusterConfigSpec`]: {
    d: 'Which nodes speak BGP, and with whom.',
    p: {
      nodeSelector: selector('Nodes by their labels. Absent: all.'),
      bgpInstances: [listOf(own('CiliumBGPInstance')), 'Speakers that each of the nodes has, 1 to 16.', 1],
    },
  },
  [`${V2}.CiliumBGPInstance`]: {
    d: 'A BGP speaker of each node.',
    p: { name: NAME, localASN: ASN, localPort: PORT, peers: [listOf(own('CiliumBGPPeer')), 'Its peers.'] },
  },
  [`${V2}.CiliumBGPPeer`]: { d: 'Somebody to speak with.', p: PEER },
  [`${V2}.BGPAutoDiscovery`]: {
    d: 'Where a peer is found.',
    p: {
      mode: text('DefaultGateway; Unnumbered is refused.'),
      defaultGateway: [own('DefaultGateway'), 'The node’s default gateway is the peer.'],
      unnumbered: [own('BGPUnnumbered'), 'Refused: peers are not looked for on a link.'],
    },
  },
  [`${V2}.DefaultGateway`]: { d: 'A default gateway.', p: { addressFamily: text('ipv4 or ipv6.') } },
  [`${V2}.BGPUnnumbered`]: { d: 'A peer on a link.', p: { interface: text('Name of the link.') } },
  [`${V2}.PeerConfigReference`]: {
    d: 'A CiliumBGPPeerConfig.',
    p: { name: text('Its name.') },
  },
  [`${V2}.CiliumBGPClusterConfigStatus`]: conditions(
    'cilium.io/NoMatchingNode, cilium.io/MissingPeerConfigs and cilium.io/ConflictingClusterConfig.',
  ),
  ...kind(
    'CiliumBGPNodeConfig',
    'CiliumBGPNodeConfig is what one node speaks; its name is the node’s. It is made out of a CiliumBGPClusterConfig.',
    {
      spec: [own('CiliumBGPNodeSpec'), 'Its speakers.', 1],
      status: status('CiliumBGPNodeStatus'),
    },
  ),
  [`${V2}.CiliumBGPNodeSpec`]: {
    d: 'Speakers of a node.',
    p: { bgpInstances: [listOf(own('CiliumBGPNodeInstance')), '1 to 16.', 1] },
  },
  [`${V2}.CiliumBGPNodeInstance`]: {
    d: 'A BGP speaker of the node.',
    p: {
      name: NAME,
      localASN: ASN,
      routerID: text('BGP identifier, an IPv4 address. Absent: derived from the node’s address.'),
      localPort: PORT,
      peers: [listOf(own('CiliumBGPNodePeer')), 'Its peers.'],
    },
  },
  [`${V2}.CiliumBGPNodePeer`]: {
    d: 'Somebody to speak with.',
    p: {
      ...PEER,
      localAddress: text('Address that the node speaks from.'),
      peerInterface: text('Link of a peer with a link-local address.'),
    },
  },
  [`${V2}.CiliumBGPNodeStatus`]: {
    d: 'How the node’s sessions fare.',
    p: {
      bgpInstances: [listOf(own('CiliumBGPNodeInstanceStatus')), 'Each speaker.'],
      conditions: [listOf(ref(`${META}.Condition`)), 'cilium.io/BGPReconcileError.'],
    },
  },
  [`${V2}.CiliumBGPNodeInstanceStatus`]: {
    d: 'How a speaker’s sessions fare.',
    p: {
      name: text('Of the instance.'),
      localASN: ASN,
      peers: [listOf(own('CiliumBGPNodePeerStatus')), 'Its sessions.'],
    },
  },
  [`${V2}.CiliumBGPNodePeerStatus`]: {
    d: 'How a session fares.',
    p: {
      name: text('Of the peer.'),
      peerAddress: text('Address of the peer.'),
      peerASN: ASN,
      peeringState: text('idle, connect, active, open_sent, open_confirm or established.'),
      timers: [own('CiliumBGPTimersState'), 'What both ends agreed on.'],
      establishedTime: text('Since when the session stands, as RFC 3339 writes times.'),
      routeCount: [listOf(own('BGPFamilyRouteCount')), 'Routes by address family.'],
    },
  },
  [`${V2}.CiliumBGPTimersState`]: {
    d: 'Timers of a session, in seconds.',
    p: { appliedHoldTimeSeconds: whole('Hold time.'), appliedKeepaliveSeconds: whole('Between keepalives.') },
  },
  [`${V2}.BGPFamilyRouteCount`]: {
    d: 'Routes of a family.',
    p: {
      afi: text('ipv4 or ipv6.'),
      safi: text('unicast.'),
      received: whole('Told by the peer.'),
      advertised: whole('Told to the peer.'),
    },
  },
  ...kind(
    'CiliumBGPNodeConfigOverride',
    'CiliumBGPNodeConfigOverride says what one node does otherwise; its name is the node’s.',
    { spec: [own('CiliumBGPNodeConfigOverrideSpec'), 'What is otherwise.', 1] },
  ),
  [`${V2}.CiliumBGPNodeConfigOverrideSpec`]: {
    d: 'What a node does otherwise.',
    p: { bgpInstances: [listOf(own('CiliumBGPNodeConfigInstanceOverride')), 'By instance.', 1] },
  },
  [`${V2}.CiliumBGPNodeConfigInstanceOverride`]: {
    d: 'What a speaker does otherwise on the node.',
    p: {
      name: text('Of the instance.'),
      routerID: text('BGP identifier, an IPv4 address.'),
      localPort: PORT,
      localASN: ASN,
      peers: [listOf(own('CiliumBGPNodeConfigPeerOverride')), 'By peer.'],
    },
  },
  [`${V2}.CiliumBGPNodeConfigPeerOverride`]: {
    d: 'What is otherwise towards a peer.',
    p: {
      name: text('Of the peer.'),
      localAddress: text('Address that the node speaks from.'),
      localPort: whole('Without effect: the kernel chooses the port that a session comes from.'),
    },
  },
  ...kind('CiliumBGPPeerConfig', 'CiliumBGPPeerConfig says how sessions are held and what is told in them.', {
    spec: [own('CiliumBGPPeerConfigSpec'), 'How, and what.', 1],
    status: status('CiliumBGPPeerConfigStatus'),
  }),
  [`${V2}.CiliumBGPPeerConfigSpec`]: {
    d: 'How sessions are held and what is told in them.',
    p: {
      transport: [own('CiliumBGPTransport'), 'The connection.'],
      timers: [own('CiliumBGPTimers'), 'In seconds.'],
      authSecretRef: text(
        'Secret in kube-system whose key "password" is the TCP MD5 password (RFC 2385). Absent: none.',
      ),
      gracefulRestart: [own('CiliumBGPNeighborGracefulRestart'), 'RFC 4724. Absent: off.'],
      ebgpMultihop: whole('Hops to a peer of another AS, 1 (default) to 255.'),
      families: [
        listOf(own('CiliumBGPFamilyWithAdverts')),
        'What is spoken of. Absent: IPv4 and IPv6 unicast, and nothing is told.',
      ],
    },
  },
  [`${V2}.CiliumBGPPeerConfigStatus`]: conditions('cilium.io/MissingAuthSecret.'),
  [`${V2}.CiliumBGPTransport`]: {
    d: 'The connection to a peer.',
    p: {
      peerPort: whole('1 to 65535, default 179.'),
      sourceInterface: text('Link whose address the node speaks from.'),
    },
  },
  [`${V2}.CiliumBGPTimers`]: {
    d: 'Timers of a session, in seconds.',
    p: {
      connectRetryTimeSeconds: whole('Between attempts to connect, default 120.'),
      holdTimeSeconds: whole('3 to 65535, default 90.'),
      keepAliveTimeSeconds: whole('At most holdTimeSeconds, default 30.'),
    },
  },
  [`${V2}.CiliumBGPNeighborGracefulRestart`]: {
    d: 'RFC 4724.',
    p: {
      enabled: ['b', 'Whether it is on.'],
      restartTimeSeconds: whole('How long a peer keeps our routes, 1 to 4095, default 120.'),
    },
  },
  [`${V2}.CiliumBGPFamilyWithAdverts`]: {
    d: 'An address family, and what is told in it.',
    p: {
      afi: text('ipv4 or ipv6; others are refused.'),
      safi: text('unicast; others are refused.'),
      advertisements: selector('CiliumBGPAdvertisements by their labels. Absent: none.'),
    },
  },
  ...kind('CiliumBGPAdvertisement', 'CiliumBGPAdvertisement says what peers are told.', {
    spec: [own('CiliumBGPAdvertisementSpec'), 'What they are told.', 1],
  }),
  [`${V2}.CiliumBGPAdvertisementSpec`]: {
    d: 'What peers are told.',
    p: { advertisements: [listOf(own('BGPAdvertisement')), 'All of these.', 1] },
  },
  [`${V2}.BGPAdvertisement`]: {
    d: 'One sort of routes.',
    p: {
      advertisementType: text('PodCIDR, CiliumPodIPPool, Service or Interface.'),
      service: [own('BGPServiceOptions'), 'Which addresses of Services.'],
      interface: [own('BGPInterfaceOptions'), 'Which link’s addresses.'],
      selector: selector(
        'Services, by labels and by io.kubernetes.service.name and io.kubernetes.service.namespace; pools, by labels and by io.cilium.podippool.name. Absent: none.',
      ),
      attributes: [own('BGPAttributes'), 'What the routes carry.'],
    },
  },
  [`${V2}.BGPServiceOptions`]: {
    d: 'Which addresses of Services.',
    p: {
      addresses: [{ a: 's' }, 'LoadBalancerIP, ClusterIP, ExternalIP: at least one.'],
      aggregationLengthIPv4: whole('Told as a range of this length, 0 to 31; not of Local traffic policies.'),
      aggregationLengthIPv6: whole(
        'Told as a range of this length, 0 to 127; not of Local traffic policies.',
      ),
    },
  },
  [`${V2}.BGPInterfaceOptions`]: { d: 'A link of the node.', p: { name: text('Its name.') } },
  [`${V2}.BGPAttributes`]: {
    d: 'What routes carry.',
    p: {
      communities: [own('BGPCommunities'), 'Communities.'],
      localPreference: whole('0 to 4294967295, for peers of the same AS.'),
    },
  },
  [`${V2}.BGPCommunities`]: {
    d: 'Communities.',
    p: {
      standard: [{ a: 's' }, 'RFC 1997: 65000:100, or one number of 32 bits.'],
      wellKnown: [{ a: 's' }, 'By their names: no-export, no-advertise, blackhole …'],
      large: [{ a: 's' }, 'RFC 8092: 65000:1:2.'],
    },
  },
};
