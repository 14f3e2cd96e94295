/**
 * What the policy engine knows: a snapshot of pods, namespaces, nodes and policies. A World is read only; to
 * change it, make another (arrays and objects may be shared).
 */
import type { Labels } from '../api/selector.ts';
import type { PolicyObject } from './objects.ts';
import type { Family } from '../lib/ip.ts';

export interface World {
  readonly pods: readonly WorldPod[];
  /** A namespace that is not listed has only the label that every namespace has. */
  readonly namespaces: readonly WorldNamespace[];
  readonly nodes: readonly WorldNode[];
  /** Of every language. */
  readonly policies: readonly PolicyObject[];
  /** Addresses that each node answers itself (the cluster DNS addresses): part of every pod's own node. */
  readonly nodeLocal?: readonly string[];
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

/** A connection in the direction of its first packet, after service translation. */
export interface Flow {
  readonly src: FlowEnd;
  readonly dst: FlowEnd;
  readonly protocol: Protocol;
  /** Destination port; needed for TCP, UDP and SCTP. */
  readonly port?: number | undefined;
  /** Needed only between two dual-stack pods; absent means IPv4 where both have it. */
  readonly family?: Family | undefined;
}

export const podKey = (pod: { namespace: string; name: string }): string => `${pod.namespace}/${pod.name}`;
