import type { Thresholds } from '../api/eviction.ts';
import type { Runtime } from '../api/runtime.ts';
import type { Encapsulation } from '../datapath/encapsulation.ts';
import type { Group, Place, PlaceLink } from './lines/places.ts';

/** What a running local cluster is: written by `heddle up` as cluster.json, read by every process of it. */
export interface ClusterConfig {
  readonly id: string;
  readonly nodes: readonly NodeConfig[];
  /** Pod ranges, IPv4 then IPv6; every node gets one block of each (`podCidrs` of its NodeConfig). */
  readonly podCidrs: readonly string[];
  /** Prefix length of nodes' blocks by family, where it was chosen: else 24 and 64. */
  readonly nodeMask?: Readonly<Record<4 | 6, number>>;
  readonly serviceCidrs: readonly string[];
  /** Ranges of the underlay that nodes, control plane and outside share. */
  readonly underlayCidrs: readonly string[];
  /**
   * Ranges on the underlay that Services of type LoadBalancer get addresses of: none is a machine's. Absent in
   * clusters of before there were any.
   */
  readonly balancerCidrs?: readonly string[];
  /** The cluster DNS address of each family: the tenth of each service range. */
  readonly dnsAddresses: readonly string[];
  readonly clusterDomain: string;
  readonly apiServer: {
    /** Underlay addresses of the control plane's namespace, and the port it serves there. */
    readonly addresses: readonly string[];
    readonly port: number;
    /** The port on 127.0.0.1 of the machine's first namespace. */
    readonly publishedPort: number;
  };
  readonly standIn: boolean;
  /** Pods may have files of the machine (hostPath); of this start alone. */
  readonly allowHost?: boolean;
  /** What pods run as that ask for no runtime; absent: as `standIn` says. */
  readonly runtime?: Runtime | undefined;
  /** Where images are kept; absent: the machine's place. */
  readonly imageDir?: string | undefined;
  /** The CRI socket of the machine's container runtime, `unix://…`; absent: containerd's own. */
  readonly criEndpoint?: string | undefined;
  /** What programs the nodes' kernel. */
  readonly datapath: DatapathName;
  /** Of the machine's memory, 0 to 1, for what the eBPF maps of all nodes learn. Absent: the default. */
  readonly mapMemory?: number | undefined;
  /** When nodes are short of memory, disk or processes. Absent: the default. */
  readonly eviction?: Thresholds | undefined;
  /** What every node has that does not say itself. */
  readonly nodeResources?: Readonly<Record<string, string>> | undefined;
  /** How packets of pods travel between nodes. Absent: by VXLAN. */
  readonly routing?: Encapsulation;
  readonly vxlan: { readonly vni: number; readonly port: number };
  /** MTU of pod interfaces: the underlay's less the encapsulation. */
  readonly podMtu: number;
  /** Longest packet of the underlay. Absent: 1500. */
  readonly underlayMtu?: number;
  /** Where nodes stand apart; absent where all are on one bridge. */
  readonly topology?: TopologyConfig;
}

export interface TopologyConfig {
  /** Bridges, each a zone or a rack. */
  readonly groups: readonly Group[];
  /** As the cluster was started with; what was changed since is in the run directory. */
  readonly links: readonly PlaceLink[];
  /** Of what links lose. */
  readonly seed: number;
}

export type DatapathName = 'ebpf' | 'nftables' | 'iptables' | 'ipvs';

export const DATAPATHS: readonly DatapathName[] = ['ebpf', 'nftables', 'iptables', 'ipvs'];

export interface NodeConfig extends Place {
  readonly name: string;
  /** Underlay addresses, IPv4 then IPv6. */
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
  /** On its Node object, beside those of its place. */
  readonly labels?: Readonly<Record<string, string>>;
  /** What pods may ask for of it, by name; of what is not named it has all that the machine has. */
  readonly resources?: Readonly<Record<string, string>> | undefined;
}
