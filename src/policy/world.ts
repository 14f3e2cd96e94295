/**
 * What the policy engine knows: a snapshot of pods, namespaces, nodes and policies. A World is read only; to
 * change it, make another (arrays and objects may be shared).
 */
import type { Labels } from '../api/selector.ts';
import type { MeshObject } from './mesh/objects.ts';
import type { PolicyObject } from './objects.ts';
import type { Family } from '../lib/ip.ts';
import type { Request } from './request.ts';

export interface World {
  readonly pods: readonly WorldPod[];
  /** A namespace that is not listed has only the label that every namespace has. */
  readonly namespaces: readonly WorldNamespace[];
  readonly nodes: readonly WorldNode[];
  /** Of every language. */
  readonly policies: readonly PolicyObject[];
  /** Addresses that each node answers itself (the cluster DNS addresses): part of every pod's own node. */
  readonly nodeLocal?: readonly string[];
  /** Those with labels that a rule may ask for. One that is not listed has none. */
  readonly serviceAccounts?: readonly WorldServiceAccount[];
  /** What domain names were seen to mean. */
  readonly names?: readonly WorldName[];
  /** Whatever else an object of a policy language refers to, read by that language alone. */
  readonly surroundings?: Surroundings;
  /** What is asked of proxies: another question than that of the network. */
  readonly mesh?: readonly MeshObject[];
}

export interface WorldServiceAccount {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
}

export interface WorldName {
  /** In lower case, without the last dot. */
  readonly name: string;
  readonly addresses: readonly string[];
}

/**
 * Objects that policies refer to: lowering a policy may read them, so that another version of any of them lowers all
 * policies of the languages that do so anew.
 */
export interface Surroundings {
  /** Calico's. The tiers that every cluster has need not be here. */
  readonly tiers?: readonly WorldTier[];
  readonly services?: readonly WorldService[];
  /** Calico's NetworkSets and GlobalNetworkSets, Cilium's CIDR groups. */
  readonly addressSets?: readonly WorldAddressSet[];
}

export interface WorldTier {
  readonly name: string;
  /** Absent = the last. */
  readonly order?: number | undefined;
  readonly defaultAction?: 'Deny' | 'Pass' | undefined;
}

export interface WorldService {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  /** Absent: its endpoints are kept by hand. */
  readonly selector?: Labels | undefined;
  /** Of its endpoints, where they are kept by hand. */
  readonly addresses?: readonly string[];
  /** Of its endpoints, by number or by the name that a pod gives it. Absent: not all of its slices have the same. */
  readonly ports?: readonly WorldServicePort[] | undefined;
}

export interface WorldServicePort {
  readonly protocol: PortProtocol;
  /** Absent = every port. */
  readonly port?: number | string | undefined;
}

export interface WorldAddressSet {
  readonly kind: string;
  /** Empty for cluster-wide kinds. */
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  /** Of its namespace; absent = none. */
  readonly namespaceLabels?: Labels | undefined;
  readonly cidrs: readonly string[];
}

export interface WorldNamespace {
  readonly name: string;
  readonly labels: Labels;
}

export interface WorldNode {
  readonly name: string;
  /** As its pods know it: traffic between these and its own pods is always allowed. */
  readonly addresses: readonly string[];
  readonly labels?: Labels;
  /** Others of its status, by which rules for nodes know it too. */
  readonly externalAddresses?: readonly string[];
}

/** A pod that can send and receive: pods that have ended are not in the World. */
export interface WorldPod {
  readonly namespace: string;
  readonly name: string;
  /** Tells it from an earlier pod of the same name, where that matters. */
  readonly uid?: string | undefined;
  /** Empty if not scheduled. */
  readonly node: string;
  readonly labels: Labels;
  /** At most one of each family. Empty for a pod known from a file only. */
  readonly addresses: readonly string[];
  readonly ports: readonly WorldPort[];
  /** Such a pod is its node: no policy selects it, no pod selector matches it. */
  readonly hostNetwork?: boolean;
  /** Absent = `default`. */
  readonly serviceAccount?: string | undefined;
}

export interface WorldPort {
  readonly name?: string | undefined;
  readonly port: number;
  readonly protocol: PortProtocol;
}

/** Protocols with ports. */
export type PortProtocol = 'TCP' | 'UDP' | 'SCTP';
export type Protocol = PortProtocol | 'ICMP' | 'OTHER';

/** `{pod: 'namespace/name'}`, or an address, which may turn out to be a pod's or a node's. */
export type FlowEnd = { readonly pod: string } | { readonly address: string };

/** A connection in the direction of its first packet, after service translation; or one request on it. */
export interface Flow {
  readonly src: FlowEnd;
  readonly dst: FlowEnd;
  readonly protocol: Protocol;
  /** Destination port; needed for TCP, UDP and SCTP. */
  readonly port?: number | undefined;
  /** Absent: none that a rule asks for. */
  readonly sourcePort?: number | undefined;
  /** Of protocol ICMP; absent: none that a rule asks for. */
  readonly icmp?: { readonly type: number; readonly code: number } | undefined;
  /** Of protocol OTHER: its IP protocol number; absent: none that a rule asks for. */
  readonly protocolNumber?: number | undefined;
  /** Absent: may the connection be opened at all? */
  readonly request?: Request | undefined;
  /** What the sender proved of itself, as the mesh sees it; absent: what proxies do among themselves. */
  readonly peer?: FlowPeer | undefined;
  /** What authorizers outside answer, by their names; absent: allow. */
  readonly providers?: Readonly<Record<string, 'allow' | 'deny'>> | undefined;
  /** Needed only between two dual-stack pods; absent means IPv4 where both have it. */
  readonly family?: Family | undefined;
}

export interface FlowPeer {
  /** Absent: mutual between pods with proxies, where the destination understands it; else none. */
  readonly tls?: 'mutual' | 'simple' | 'none' | undefined;
  /** Of its certificate, without `spiffe://`; absent: that of its pod. */
  readonly principal?: string | undefined;
  /** The server name that it asked TLS for. */
  readonly sni?: string | undefined;
  /** Where the request began, if another proxy handed it on; absent: as X-Forwarded-For says, else the sender. */
  readonly remote?: string | undefined;
}

export const podKey = (pod: { namespace: string; name: string }): string => `${pod.namespace}/${pod.name}`;
