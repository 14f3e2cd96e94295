/** The CNI specification's shapes (version 1.1.0), and what of them older versions lack. */
export interface NetConf {
  cniVersion?: string;
  name?: string;
  type?: string;
  prevResult?: unknown;
  runtimeConfig?: Record<string, unknown>;
  capabilities?: Record<string, boolean>;
  dns?: Dns;
  [key: string]: unknown;
}

export interface NetConfList {
  cniVersion?: string;
  /** From 1.1.0: further versions that the list is good for. */
  cniVersions?: string[];
  name: string;
  disableCheck?: boolean;
  /** From 1.1.0. */
  disableGC?: boolean;
  /** From 1.1.0: nothing is added to `plugins` from elsewhere. */
  loadOnlyInlinedPlugins?: boolean;
  plugins: NetConf[];
}

export interface CniInterface {
  name: string;
  mac?: string;
  /** From 1.1.0. */
  mtu?: number;
  /** Path of the network namespace; absent on the host. */
  sandbox?: string;
}

export interface CniIp {
  /** With its prefix length: `10.244.1.5/32`. */
  address: string;
  gateway?: string;
  /** Index into `interfaces`. */
  interface?: number;
  /** `4` or `6`, only before 1.0.0. */
  version?: string;
}

export interface CniRoute {
  dst: string;
  gw?: string;
  /** From 1.1.0, as `table`. */
  priority?: number;
  table?: number;
}

export interface Dns {
  nameservers?: string[];
  domain?: string;
  search?: string[];
  options?: string[];
}

export interface CniResult {
  cniVersion: string;
  interfaces?: CniInterface[];
  ips?: CniIp[];
  routes?: CniRoute[];
  dns?: Dns;
}

export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'VERSION' | 'GC';

/** One attachment as the runtime names it; (containerId, ifName) is its key for ever. */
export interface Attachment {
  containerId: string;
  ifName: string;
}

export interface CniRequest {
  command: CniCommand;
  containerId: string;
  ifName: string;
  /** Path of the pod's network namespace; empty when it is gone already (DEL). */
  netns: string;
  /** CNI_ARGS, taken apart. */
  args: Record<string, string>;
  config: NetConf;
  /** The version to answer in. */
  cniVersion: string;
}
