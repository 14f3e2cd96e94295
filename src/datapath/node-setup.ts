/**
 * What a node's namespace needs before the first pod: it forwards, believes nobody's routes, and answers at
 * the cluster DNS addresses. Idempotent.
 */

/** The parts of kernel/sysctl.ts and kernel/route.ts that this uses, in the node's namespace. */
export interface NodeSetupDeps {
  readSysctl(key: string): string;
  writeSysctl(key: string, value: string): void;
  route: {
    setLink(name: string, change: { up: boolean }): void;
    replaceAddress(link: string, address: string, options?: { nodad?: boolean }): void;
  };
}

/** All of the namespace, its `conf/all` and `conf/default`: links that come later take `default`. */
export const NODE_SYSCTLS: Readonly<Record<string, string>> = {
  'net.ipv4.ip_forward': '1',
  'net.ipv6.conf.all.forwarding': '1',
  'net.ipv6.conf.default.forwarding': '1',
  // Replies to another node's pods leave by the underlay although requests come through the tunnel.
  'net.ipv4.conf.all.rp_filter': '0',
  'net.ipv4.conf.default.rp_filter': '0',
  'net.ipv4.conf.all.send_redirects': '0',
  'net.ipv4.conf.default.send_redirects': '0',
  'net.ipv4.conf.all.accept_redirects': '0',
  'net.ipv4.conf.default.accept_redirects': '0',
  'net.ipv6.conf.all.accept_redirects': '0',
  'net.ipv6.conf.default.accept_redirects': '0',
  'net.ipv6.conf.all.accept_ra': '0',
  'net.ipv6.conf.default.accept_ra': '0',
  'net.ipv6.conf.all.accept_dad': '0',
  'net.ipv6.conf.default.accept_dad': '0',
  // A segment outside of the window is the receiver's to judge; only what conntrack cannot place is dropped.
  'net.netfilter.nf_conntrack_tcp_be_liberal': '1',
};

export interface NodeSetupOptions {
  /** Addresses this node answers itself: put on `lo`. */
  dnsAddresses: readonly string[];
}

/** @throws HeddleError `Sysctl`, `Netlink` */
export function setUpNode(deps: NodeSetupDeps, options: NodeSetupOptions): void {
  for (const [key, value] of Object.entries(NODE_SYSCTLS))
    if (deps.readSysctl(key) !== value) deps.writeSysctl(key, value);
  deps.route.setLink('lo', { up: true });
  for (const address of options.dnsAddresses)
    deps.route.replaceAddress('lo', `${address}/${address.includes(':') ? 128 : 32}`, { nodad: true });
}
