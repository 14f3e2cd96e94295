/** Types of Cilium's BGP control plane, `cilium.io/v2`. */
import type { ICondition } from '@kubernetes-models/apimachinery/apis/meta/v1/Condition';
import type { ILabelSelector } from '@kubernetes-models/apimachinery/apis/meta/v1/LabelSelector';
import type { ObjectMeta } from './types.ts';

interface BgpObject<Kind extends string> {
  apiVersion: 'cilium.io/v2';
  kind: Kind;
  metadata: ObjectMeta;
}

export interface BgpAutoDiscovery {
  mode: string;
  defaultGateway?: { addressFamily: string };
  unnumbered?: { interface: string };
}

export interface BgpPeer {
  name: string;
  peerAddress?: string;
  peerASN?: number;
  autoDiscovery?: BgpAutoDiscovery;
  peerConfigRef?: { name: string };
}

export interface BgpInstance {
  name: string;
  localASN?: number;
  /** Absent: nobody can connect to it. */
  localPort?: number;
  peers?: BgpPeer[];
}

export interface CiliumBgpClusterConfig extends BgpObject<'CiliumBGPClusterConfig'> {
  spec: { nodeSelector?: ILabelSelector; bgpInstances: BgpInstance[] };
  status?: { conditions?: ICondition[] };
}

export interface BgpNodePeer extends BgpPeer {
  localAddress?: string;
  peerInterface?: string;
}

export interface BgpNodeInstance extends BgpInstance {
  routerID?: string;
  peers?: BgpNodePeer[];
}

export interface BgpRouteCount {
  afi: string;
  safi: string;
  received?: number;
  advertised?: number;
}

export interface BgpPeerStatus {
  name: string;
  peerAddress: string;
  peerASN?: number;
  /** idle, connect, active, open_sent, open_confirm, established. */
  peeringState?: string;
  timers?: { appliedHoldTimeSeconds?: number; appliedKeepaliveSeconds?: number };
  /** RFC 3339. */
  establishedTime?: string;
  routeCount?: BgpRouteCount[];
}

export interface BgpInstanceStatus {
  name: string;
  localASN?: number;
  peers?: BgpPeerStatus[];
}

export interface CiliumBgpNodeConfig extends BgpObject<'CiliumBGPNodeConfig'> {
  spec: { bgpInstances: BgpNodeInstance[] };
  status?: { bgpInstances?: BgpInstanceStatus[]; conditions?: ICondition[] };
}

export interface BgpInstanceOverride {
  name: string;
  routerID?: string;
  localPort?: number;
  localASN?: number;
  peers?: { name: string; localAddress?: string; localPort?: number }[];
}

export interface CiliumBgpNodeConfigOverride extends BgpObject<'CiliumBGPNodeConfigOverride'> {
  spec: { bgpInstances: BgpInstanceOverride[] };
}

export interface BgpFamily {
  afi: string;
  safi: string;
  /** Which CiliumBGPAdvertisements, by their labels; absent: none. */
  advertisements?: ILabelSelector;
}

export interface CiliumBgpPeerConfig extends BgpObject<'CiliumBGPPeerConfig'> {
  spec: {
    transport?: { peerPort?: number; sourceInterface?: string };
    timers?: { connectRetryTimeSeconds?: number; holdTimeSeconds?: number; keepAliveTimeSeconds?: number };
    authSecretRef?: string;
    gracefulRestart?: { enabled: boolean; restartTimeSeconds?: number };
    ebgpMultihop?: number;
    families?: BgpFamily[];
  };
  status?: { conditions?: ICondition[] };
}

export interface BgpAttributes {
  communities?: { standard?: string[]; wellKnown?: string[]; large?: string[] };
  localPreference?: number;
}

export interface BgpAdvertisement {
  advertisementType: string;
  service?: { addresses?: string[]; aggregationLengthIPv4?: number; aggregationLengthIPv6?: number };
  interface?: { name: string };
  /** Of Services; absent: none. */
  selector?: ILabelSelector;
  attributes?: BgpAttributes;
}

export interface CiliumBgpAdvertisement extends BgpObject<'CiliumBGPAdvertisement'> {
  spec: { advertisements: BgpAdvertisement[] };
}
