/** Words of Cilium's policies: entities, sources of labels, ICMP messages, names. */

/** Who has no labels of its own. Of those that are never there a rule matches nobody. */
export const ENTITIES = [
  'all',
  'world',
  'world-ipv4',
  'world-ipv6',
  'cluster',
  'host',
  'remote-node',
  'none',
  'init',
  'ingress',
  'health',
  'unmanaged',
  'kube-apiserver',
] as const;
export type Entity = (typeof ENTITIES)[number];

export const isEntity = (name: string): name is Entity => (ENTITIES as readonly string[]).includes(name);

/** Whoever the Service default/kubernetes stands for. */
export const API_SERVER = 'kube-apiserver';

/** Names of labels of the source `reserved`. */
export const RESERVED: readonly string[] = ENTITIES.filter((name) => name !== 'all' && name !== 'cluster');

export interface LabelKey {
  /** `any` if the key names none. */
  readonly source: string;
  readonly key: string;
}

/** `k8s:app` → source k8s, key app. Keys of Kubernetes have no colon. */
export function parseLabelKey(text: string): LabelKey {
  const colon = text.indexOf(':');
  return colon < 0
    ? { source: 'any', key: text }
    : { source: text.slice(0, colon), key: text.slice(colon + 1) };
}

/** Sources that labels of pods can be asked for by. */
export const POD_SOURCES: readonly string[] = ['any', 'k8s', 'reserved'];
export const NODE_SOURCES: readonly string[] = ['any', 'k8s', 'node'];

export const NAMESPACE_KEY = 'io.kubernetes.pod.namespace';
export const NAMESPACE_LABELS_PREFIX = 'io.cilium.k8s.namespace.labels.';
export const ACCOUNT_KEY = 'io.cilium.k8s.policy.serviceaccount';
export const CLUSTER_KEY = 'io.cilium.k8s.policy.cluster';
/** What a cluster that has not been given a name is called. */
export const CLUSTER_NAME = 'default';

export const PORT_PROTOCOLS: readonly string[] = ['TCP', 'UDP', 'SCTP', 'VRRP', 'IGMP', 'ANY'];
/** IANA numbers of those that have no ports. */
export const PROTOCOL_NUMBERS: Readonly<Record<string, number>> = { VRRP: 112, IGMP: 2 };

/** RFC 6335 section 5.1, in any case. */
export const isPortName = (text: string): boolean =>
  text.length <= 63 && /^[a-z0-9-]+$/i.test(text) && /[a-z]/i.test(text) && !/^-|--|-$/.test(text);

/** 0 to 65535; undefined if it is no number. */
export function portNumberOf(text: string): number | undefined {
  if (!/^[0-9]{1,5}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= 65_535 ? number : undefined;
}

/** Labels of letters, digits, hyphens and underscores, with dots between; one more at the end. */
export const isDnsName = (text: string): boolean =>
  text.length <= 255 && /^[-\w]+(?:\.[-\w]+)*\.?$/.test(text);
export const isDnsPattern = (text: string): boolean =>
  text.length <= 255 && /^[-\w*]+(?:\.[-\w*]+)*\.?$/.test(text);

const ICMP_TYPES: Readonly<Record<string, number>> = {
  EchoReply: 0,
  DestinationUnreachable: 3,
  Redirect: 5,
  Echo: 8,
  EchoRequest: 8,
  RouterAdvertisement: 9,
  RouterSelection: 10,
  TimeExceeded: 11,
  ParameterProblem: 12,
  Timestamp: 13,
  TimestampReply: 14,
  Photuris: 40,
  ExtendedEchoRequest: 42,
  ExtendedEchoReply: 43,
};

const ICMPV6_TYPES: Readonly<Record<string, number>> = {
  DestinationUnreachable: 1,
  PacketTooBig: 2,
  TimeExceeded: 3,
  ParameterProblem: 4,
  EchoRequest: 128,
  EchoReply: 129,
  MulticastListenerQuery: 130,
  MulticastListenerReport: 131,
  MulticastListenerDone: 132,
  RouterSolicitation: 133,
  RouterAdvertisement: 134,
  NeighborSolicitation: 135,
  NeighborAdvertisement: 136,
  RedirectMessage: 137,
  RouterRenumbering: 138,
  ICMPNodeInformationQuery: 139,
  ICMPNodeInformationResponse: 140,
  InverseNeighborDiscoverySolicitation: 141,
  InverseNeighborDiscoveryAdvertisement: 142,
  HomeAgentAddressDiscoveryRequest: 144,
  HomeAgentAddressDiscoveryReply: 145,
  MobilePrefixSolicitation: 146,
  MobilePrefixAdvertisement: 147,
  DuplicateAddressRequestCodeSuffix: 157,
  DuplicateAddressConfirmationCodeSuffix: 158,
  ExtendedEchoRequest: 160,
  ExtendedEchoReply: 161,
};

export const ICMP_FAMILIES: readonly string[] = ['IPv4', 'IPv6'];

/** RFC 792, RFC 4443 and the registries of IANA. Undefined if it is neither a name of the family nor 0 to 255. */
export function icmpType(family: string, type: unknown): number | undefined {
  if (typeof type === 'number') return Number.isInteger(type) && type >= 0 && type <= 255 ? type : undefined;
  if (typeof type !== 'string') return undefined;
  const names = family === 'IPv6' ? ICMPV6_TYPES : ICMP_TYPES;
  if (Object.hasOwn(names, type)) return names[type];
  return /^\d{1,3}$/.test(type) && Number(type) <= 255 ? Number(type) : undefined;
}

export const AUTHENTICATION_MODES: readonly string[] = ['disabled', 'required', 'test-always-fail'];

/** Peers of a rule, of which one kind may be there. */
export const PEER_FIELDS = {
  from: ['fromEndpoints', 'fromEntities', 'fromCIDR', 'fromCIDRSet', 'fromNodes', 'fromGroups'],
  to: ['toEndpoints', 'toEntities', 'toCIDR', 'toCIDRSet', 'toNodes', 'toGroups', 'toServices', 'toFQDNs'],
} as const;

export const REFUSED_PEERS: Readonly<Record<string, string>> = {
  fromGroups: 'there are no groups of cloud providers here',
  toGroups: 'there are no groups of cloud providers here',
  fromRequires: 'deprecated, and gone from the API: use fromEndpoints and ingressDeny',
  toRequires: 'deprecated, and gone from the API: use toEndpoints and egressDeny',
};

export const REFUSED_PORT_PARTS: Readonly<Record<string, string>> = {
  terminatingTLS: 'TLS is not ended on the way yet',
  originatingTLS: 'TLS is not begun on the way yet',
  serverNames: 'names in TLS handshakes are not read yet',
  listener: 'there are no listeners of one’s own',
};

/** Both `spec` and each of `specs` are one. */
export const SECTIONS = ['ingress', 'ingressDeny', 'egress', 'egressDeny'] as const;
export type Section = (typeof SECTIONS)[number];

/** Names of Kafka's requests, as rules write them, and their numbers: "Api Keys" of the Kafka protocol guide. */
export const KAFKA_KEYS: Readonly<Record<string, number>> = {
  produce: 0,
  fetch: 1,
  offsets: 2,
  metadata: 3,
  leaderandisr: 4,
  stopreplica: 5,
  updatemetadata: 6,
  controlledshutdown: 7,
  offsetcommit: 8,
  offsetfetch: 9,
  findcoordinator: 10,
  joingroup: 11,
  heartbeat: 12,
  leavegroup: 13,
  syncgroup: 14,
  describegroups: 15,
  listgroups: 16,
  saslhandshake: 17,
  apiversions: 18,
  createtopics: 19,
  deletetopics: 20,
  deleterecords: 21,
  initproducerid: 22,
  offsetforleaderepoch: 23,
  addpartitionstotxn: 24,
  addoffsetstotxn: 25,
  endtxn: 26,
  writetxnmarkers: 27,
  txnoffsetcommit: 28,
  describeacls: 29,
  createacls: 30,
  deleteacls: 31,
  describeconfigs: 32,
  alterconfigs: 33,
};

/** What a producer and a consumer must ask for to do their work. */
export const KAFKA_ROLES: Readonly<Record<string, readonly string[]>> = {
  produce: ['produce', 'metadata', 'apiversions'],
  consume: [
    'fetch',
    'offsets',
    'metadata',
    'offsetcommit',
    'offsetfetch',
    'findcoordinator',
    'joingroup',
    'heartbeat',
    'leavegroup',
    'syncgroup',
    'apiversions',
  ],
};

/** Requests that name topics. */
export const KAFKA_TOPIC_KEYS: ReadonlySet<string> = new Set([
  'produce',
  'fetch',
  'offsets',
  'metadata',
  'leaderandisr',
  'stopreplica',
  'updatemetadata',
  'offsetcommit',
  'offsetfetch',
  'createtopics',
  'deletetopics',
  'deleterecords',
  'offsetforleaderepoch',
  'addpartitionstotxn',
  'writetxnmarkers',
  'txnoffsetcommit',
]);
