/**
 * What a node's namespace needs before the first pod: it forwards, believes nobody's routes, and answers at
 * the cluster DNS addresses. Idempotent.
 */

import { HeddleError } from '../lib/errors.ts';

/** The parts of kernel/sysctl.ts and kernel/route.ts that this uses, in the node's namespace. */
export interface NodeSetupDeps {
  readSysctl(key: string): string;
  writeSysctl(key: string, value: string): void;
  route: {
    links(): readonly { name: string }[];
    setLink(name: string, change: { up: boolean }): void;
    replaceAddress(link: string, address: string, options?: { nodad?: boolean; noSource?: boolean }): void;
  };
}

const PER_LINK: Readonly<Record<string, string>> = {
  // Replies to another node's pods leave by the underlay although requests come through the tunnel.
  'ipv4/rp_filter': '0',
  'ipv4/send_redirects': '0',
  'ipv4/accept_redirects': '0',
  'ipv6/accept_redirects': '0',
  // Policy judges where a packet says it goes.
  'ipv4/accept_source_route': '0',
  'ipv6/accept_source_route': '-1',
  'ipv6/accept_ra': '0',
  // Duplicate detection keeps a new address, fe80 ones too, silent for over a second.
  'ipv6/accept_dad': '0',
};

const WHOLE: Readonly<Record<string, string>> = {
  'net/ipv4/ip_forward': '1',
  'net/ipv6/conf/all/forwarding': '1',
  'net/ipv6/conf/default/forwarding': '1',
};

/** A segment outside of the window is the receiver's to judge; only what conntrack cannot place is dropped. */
const LIBERAL = 'net/netfilter/nf_conntrack_tcp_be_liberal';

/** Settings of the namespace, for the links that are there and, by `default`, those to come. */
export function nodeSysctls(links: readonly string[]): ReadonlyMap<string, string> {
  const perLink = ['all', 'default', ...links].flatMap((link) =>
    Object.entries(PER_LINK).map(([key, value]) => {
      const [family, name] = key.split('/');
      return [`net/${family}/conf/${link}/${name}`, value] as const;
    }),
  );
  return new Map([...Object.entries(WHOLE), ...perLink]);
}

export interface NodeSetupOptions {
  /** Addresses this node answers itself: put on `lo`. */
  dnsAddresses: readonly string[];
}

/** @throws HeddleError `Sysctl`, `Netlink` */
export function setUpNode(deps: NodeSetupDeps, options: NodeSetupOptions): void {
  const links = deps.route.links().map(({ name }) => name);
  for (const [key, value] of nodeSysctls([]))
    if (deps.readSysctl(key) !== value) deps.writeSysctl(key, value);
  // A link below IPv6's least MTU has no settings of it: gre0, which the kernel makes in every namespace.
  for (const [key, value] of nodeSysctls(links))
    ifThere(() => {
      if (deps.readSysctl(key) !== value) deps.writeSysctl(key, value);
    });
  // Where connection tracking is a module that the first table loads, the setting is not there before it.
  ifThere(() => {
    if (deps.readSysctl(LIBERAL) !== '1') deps.writeSysctl(LIBERAL, '1');
  });
  deps.route.setLink('lo', { up: true });
  for (const address of options.dnsAddresses)
    deps.route.replaceAddress('lo', `${address}/${address.includes(':') ? 128 : 32}`, {
      nodad: true,
      // Or the kernel takes it as the node's own where a link has none: what pods see of probes.
      noSource: true,
    });
}

function ifThere(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof HeddleError) || error.code !== 'Sysctl') throw error;
  }
}
