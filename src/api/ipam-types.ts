/** Kinds of the field that say which addresses pods are given: Cilium's pools and blocks, Calico's reservations. */
import type { ILabelSelector } from '@kubernetes-models/apimachinery/apis/meta/v1/LabelSelector';
import type { ObjectMeta } from './types.ts';

export interface PodIpPoolFamily {
  cidrs?: string[];
  /** Prefix length of the blocks that nodes are given. */
  maskSize?: number;
}

/** `cilium.io/v2alpha1` CiliumPodIPPool. */
export interface CiliumPodIpPool {
  apiVersion: 'cilium.io/v2alpha1';
  kind: 'CiliumPodIPPool';
  metadata: ObjectMeta;
  spec: {
    ipv4?: PodIpPoolFamily;
    ipv6?: PodIpPoolFamily;
    podSelector?: ILabelSelector;
    namespaceSelector?: ILabelSelector;
  };
}

export interface PoolRequest {
  pool: string;
  needed?: { 'ipv4-addrs'?: number; 'ipv6-addrs'?: number };
}

export interface PoolAllocation {
  pool: string;
  cidrs?: string[];
}

/** `cilium.io/v2` CiliumNode, of which only what address management says is known here. */
export interface CiliumNode {
  apiVersion: 'cilium.io/v2';
  kind: 'CiliumNode';
  metadata: ObjectMeta;
  spec: {
    addresses?: { type?: string; ip?: string }[];
    ipam?: {
      podCIDRs?: string[];
      pools?: { requested?: PoolRequest[]; allocated?: PoolAllocation[] };
    };
  };
  status?: { ipam?: { 'operator-status'?: { error?: string } } };
}

/** IPReservation, of `projectcalico.org/v3` and of `crd.projectcalico.org/v1`. */
export interface CalicoIpReservation {
  apiVersion: 'projectcalico.org/v3' | 'crd.projectcalico.org/v1';
  kind: 'IPReservation';
  metadata: ObjectMeta;
  spec?: { reservedCIDRs?: string[] };
}
