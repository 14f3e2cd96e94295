/**
 * The tables of the plan: what a node's data path should hold, whatever programs it. Keys are text, values are
 * read only and comparable by content, so that a backend can be told differences and nothing else.
 */
import type { PolicyTable, RuleInfo } from '../../policy/tables.ts';
import type { Encapsulation } from '../encapsulation.ts';

export interface PlanTables {
  /** Key `10.96.0.1|TCP|80`, see `frontendKey`. */
  services: ServiceFrontend;
  /** Address range → identity; the longest prefix that holds an address decides, none is 0. */
  identities: number;
  /** Address of a pod of this node → its policy tables. */
  endpoints: EndpointTables;
  /** Table number in decimal. */
  policies: PolicyTable;
  /** Rule number in decimal. */
  rules: RuleInfo;
  /** Pod of this node, `namespace/name`. */
  pods: LocalPod;
  /** Name of another node. */
  routes: RemoteNode;
  /** One entry, `SETTINGS_KEY`. */
  settings: Settings;
  /** One entry, `SETTINGS_KEY`, where anything protects the node's uplink. */
  protection: Protection;
}

export type TableName = keyof PlanTables;

export const TABLE_NAMES: readonly TableName[] = [
  'settings',
  'rules',
  'policies',
  'identities',
  'endpoints',
  'pods',
  'services',
  'routes',
  'protection',
];

export const SETTINGS_KEY = 'node';

/** `value` undefined: the entry is gone. */
export type Change = {
  [T in TableName]: {
    readonly table: T;
    readonly key: string;
    readonly value: Readonly<PlanTables[T]> | undefined;
  };
}[TableName];

export type PlanState = { readonly [T in TableName]: ReadonlyMap<string, Readonly<PlanTables[T]>> };

export type PortProtocol = 'TCP' | 'UDP' | 'SCTP';

/** One address, protocol and port that clients use, and where its connections go. */
export interface ServiceFrontend {
  /** `namespace/name` */
  readonly service: string;
  readonly kind: FrontendKind;
  /** Of NodePort: one of this node's own addresses; there is a frontend for each. */
  readonly address: string;
  readonly protocol: PortProtocol;
  readonly port: number;
  /** For clients inside the cluster: pods and this node. Sorted, without duplicates, of the family of `address`. */
  readonly backends: readonly BackendAddress[];
  /** For clients outside, where they are others (`externalTrafficPolicy: Local`); else those of `backends`. */
  readonly externalBackends?: readonly BackendAddress[];
  /** What happens to a client for whom there is no backend: dropped where a Local policy leaves out others. */
  readonly whenEmpty: 'refuse' | 'drop';
  readonly algorithm: BalanceAlgorithm;
  /** `sessionAffinity: ClientIP`: one client stays at one backend, this long after its last connection. */
  readonly affinitySeconds?: number;
  /** Clients outside whose address is in none of these are dropped: empty means all. Absent: everybody may. */
  readonly sourceRanges?: readonly string[];
  /** How replies of backends on other nodes reach a client outside: through this node, or straight (DSR). */
  readonly forwarding: 'snat' | 'dsr';
}

export type FrontendKind = 'ClusterIP' | 'NodePort' | 'ExternalIP' | 'LoadBalancer';

export type BalanceAlgorithm =
  | 'random'
  | 'round-robin'
  | 'least-connection'
  | 'maglev'
  | 'ring-hash'
  | 'source-hash'
  /** Schedulers that IPVS alone has: dh, sed and nq. */
  | 'destination-hash'
  | 'shortest-expected-delay'
  | 'never-queue';

export interface BackendAddress {
  readonly address: string;
  readonly port: number;
  /**
   * Share of new connections, relative to the others; 1 to 65535. Absent: 1. 0: it drains, and keeps the
   * connections it has; never all of a list.
   */
  readonly weight?: number;
  /** Present and true: a pod of this node. */
  readonly local?: boolean;
}

/** Table numbers; 0 = not isolated in that direction. */
export interface EndpointTables {
  readonly ingress: number;
  readonly egress: number;
}

export interface LocalPod {
  readonly namespace: string;
  readonly name: string;
  /** Name of the host side of its link, at most 15 bytes. */
  readonly interface: string;
  readonly addresses: readonly string[];
  /** MAC address of the pod's end of the link. */
  readonly mac?: string | undefined;
  /** Path of its network namespace. */
  readonly netns?: string | undefined;
  readonly bandwidth?: Bandwidth | undefined;
}

/** Bits per second, whole packets counted; absent: as fast as it goes. */
export interface Bandwidth {
  /** What the pod is sent. */
  readonly ingress?: number;
  /** What it sends. */
  readonly egress?: number;
}

export interface RemoteNode {
  readonly node: string;
  /** Underlay addresses, IPv4 first. */
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
}

export interface Settings {
  readonly node: string;
  /** Underlay addresses of this node, IPv4 first: what pods are seen as outside the cluster. */
  readonly nodeAddresses: readonly string[];
  /** Own addresses at which node ports are served. Absent: `nodeAddresses`. */
  readonly nodePortAddresses?: readonly string[];
  /** Addresses beside them that this node answers itself (cluster DNS). */
  readonly nodeLocal?: readonly string[];
  /** Pod ranges of this node. */
  readonly nodePodCidrs: readonly string[];
  readonly podCidrs: readonly string[];
  /** What is sent to these and has no frontend is refused. */
  readonly serviceCidrs: readonly string[];
  readonly underlayCidrs: readonly string[];
  /** From where the cluster is governed, beside its nodes: the API server. Nothing holds them up at the uplink. */
  readonly controlAddresses?: readonly string[];
  /** What names of pods' links on this node begin with. Such a link that is no pod's of the plan carries nothing. */
  readonly podLinks: string;
  /** UDP port of VXLAN: only ends of other nodes' tunnels are heard there. */
  readonly tunnelPort: number;
  /** Absent: VXLAN and nothing else. */
  readonly routing?: Routing;
}

/** How packets of pods travel between nodes. */
export interface Routing {
  readonly sends: Encapsulation;
  /** With `sends`. More than that while nodes go over from one to another. */
  readonly accepts: readonly Encapsulation[];
}

/** What is not heard at the uplink. Nodes of the cluster and `controlAddresses` are outside of all of it. */
export interface Protection {
  /** Names of the objects that say so. */
  readonly objects: readonly string[];
  /** Ranges in their usual form, sorted, each once. */
  readonly denied: readonly string[];
  /** Of each source: an IPv4 address, or the first 64 bits of an IPv6 one. Absent: as many as come. */
  readonly packets?: Rate;
  /** New connections of TCP and SCTP. */
  readonly connections?: Rate;
  /** Those of all sources together. */
  readonly allConnections?: Rate;
}

export interface Rate {
  readonly perSecond: number;
  /** How many may come at once. */
  readonly burst: number;
}

export const frontendKey = (frontend: { address: string; protocol: string; port: number }): string =>
  `${frontend.address}|${frontend.protocol}|${frontend.port}`;

export function emptyState(): { [T in TableName]: Map<string, Readonly<PlanTables[T]>> } {
  return {
    services: new Map(),
    identities: new Map(),
    endpoints: new Map(),
    policies: new Map(),
    rules: new Map(),
    pods: new Map(),
    routes: new Map(),
    settings: new Map(),
    protection: new Map(),
  };
}

/** Writes changes into a state made by `emptyState`. */
export function applyChanges(state: ReturnType<typeof emptyState>, changes: readonly Change[]): void {
  for (const change of changes) {
    const table: Map<string, unknown> = state[change.table];
    if (change.value === undefined) table.delete(change.key);
    else table.set(change.key, change.value);
  }
}

/** Everything of a state as changes to an empty one. */
export function stateChanges(state: PlanState): Change[] {
  return TABLE_NAMES.flatMap((table) =>
    [...state[table]].map(([key, value]) => ({ table, key, value }) as Change),
  );
}
