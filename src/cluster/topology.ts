/**
 * The machines of a cluster, as namespaces: `underlay` holds a bridge; `control-plane`, `outside` and every
 * node hang on it by one link, `eth0`. Made once by `up`; gone with the run directory's mounts.
 *
 * Nodes that stand apart have a bridge per zone (or rack). Each has a TAP, by which the process `lines` carries frames
 * to the other zones, and a link to `br0`, by which control plane and outside are reached at full speed from everywhere;
 * the ports of both are isolated from each other, so that no frame goes from zone to zone that way, or in a circle.
 */
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { closeNetns, createNetns, type Netns } from '../kernel/netns.ts';
import { openRoute, type Route } from '../kernel/route.ts';
import { writeSysctl } from '../kernel/sysctl.ts';
import { makeTap } from '../kernel/tap.ts';
import type { ClusterConfig } from './config.ts';
import { lineTap } from './lines/names.ts';
import type { ClusterPaths } from './paths.ts';
import { outsideAddresses } from './plan.ts';
import { underlayMac } from './underlay-mac.ts';

/** Addresses that stand for the internet: hosts outside of the cluster that know no way back to pods. */
const WORLD_ADDRESSES = ['203.0.113.1', '2001:db8::1'] as const;

const BRIDGE = 'br0';
const UPLINK = 'eth0';

interface Member {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly kind: 'node' | 'control-plane' | 'outside';
  /** That its link is a port of. */
  readonly bridge: string;
}

export function createTopology(config: ClusterConfig, paths: Pick<ClusterPaths, 'netns'>): void {
  mkdirSync(dirname(paths.netns('x')), { mode: 0o700, recursive: true });
  const members = membersOf(config);
  const mtu = config.underlayMtu;
  const underlay = createNetns(paths.netns('underlay'));
  try {
    setAll(underlay, { 'net.ipv6.conf.all.disable_ipv6': 1, 'net.ipv6.conf.default.disable_ipv6': 1 });
    const route = openRoute(underlay);
    try {
      route.addBridge({ name: BRIDGE, alias: mark(config, 'underlay'), mtu });
      route.setLink(BRIDGE, { up: true });
      for (const [i, { name }] of (config.topology?.groups ?? []).entries())
        addZone(i, mark(config, `zone ${name}`), { underlay, route, mtu });
      for (const member of members) addMember(member, members, { config, paths, underlay: route });
    } finally {
      route.close();
    }
  } finally {
    closeNetns(underlay);
  }
}

interface Context {
  readonly config: ClusterConfig;
  readonly paths: Pick<ClusterPaths, 'netns'>;
  readonly underlay: Route;
}

/** Of the group with this index. */
const zoneBridge = (index: number): string => `br-${index + 1}`;

function addZone(
  index: number,
  alias: string,
  { underlay, route, mtu }: { underlay: Netns; route: Route; mtu: number | undefined },
): void {
  const [bridge, up, down, tap] = [zoneBridge(index), `up-${index + 1}`, `down-${index + 1}`, lineTap(index)];
  route.addBridge({ name: bridge, alias, mtu });
  route.setLink(bridge, { up: true });
  route.addVeth({ name: down, alias, mtu, peer: { name: up, mtu } });
  route.setLink(down, { master: BRIDGE, up: true });
  route.setLink(down, { isolated: true });
  makeTap(underlay, tap);
  route.setLink(tap, { alias, mtu });
  for (const name of [up, tap]) {
    route.setLink(name, { master: bridge, up: true });
    route.setLink(name, { isolated: true });
  }
}

function membersOf(config: ClusterConfig): Member[] {
  const groups = config.topology?.groups ?? [];
  const bridgeOf = (node: string) => {
    const index = groups.findIndex(({ nodes }) => nodes.includes(node));
    return index < 0 ? BRIDGE : zoneBridge(index);
  };
  return [
    {
      name: 'control-plane',
      addresses: config.apiServer.addresses,
      kind: 'control-plane',
      bridge: BRIDGE,
    },
    { name: 'outside', addresses: outsideAddresses(config), kind: 'outside', bridge: BRIDGE },
    ...config.nodes.map(
      ({ name, addresses }): Member => ({ name, addresses, kind: 'node', bridge: bridgeOf(name) }),
    ),
  ];
}

function addMember(member: Member, all: readonly Member[], context: Context): void {
  const { config, paths, underlay } = context;
  const ns = createNetns(paths.netns(member.name));
  try {
    setAll(ns, member.kind === 'node' ? NODE_SYSCTLS : HOST_SYSCTLS);
    const port = portName(member.name, all.indexOf(member));
    underlay.addVeth({
      name: port,
      alias: mark(config, member.name),
      mtu: config.underlayMtu,
      peer: { name: UPLINK, netns: ns, mac: macOf(member) },
    });
    underlay.setLink(port, { master: member.bridge, up: true });
    const route = openRoute(ns);
    try {
      connect(member, all, config, route);
    } finally {
      route.close();
    }
  } finally {
    closeNetns(ns);
  }
}

function connect(member: Member, all: readonly Member[], config: ClusterConfig, route: Route): void {
  route.setLink(UPLINK, { up: true, alias: mark(config, member.name) });
  for (const [i, address] of member.addresses.entries())
    route.replaceAddress(UPLINK, `${address}/${lengthOf(config.underlayCidrs[i])}`, { nodad: true });
  // Written, not learned: the kernel's table of learned neighbours is one for all namespaces, and small.
  for (const other of all)
    if (other !== member)
      for (const address of other.addresses)
        route.replaceNeighbour({ dev: UPLINK, address, mac: macOf(other) });
  // A balancer's address is some node's: who asks for it hears which.
  for (const dst of config.balancerCidrs ?? []) route.replaceRoute({ dst, dev: UPLINK });
  if (member.kind === 'outside') {
    const families = new Set(config.underlayCidrs.map((cidr) => cidr.includes(':')));
    for (const address of WORLD_ADDRESSES.filter((each) => families.has(each.includes(':'))))
      route.replaceAddress('lo', `${address}/${address.includes(':') ? 128 : 32}`, { nodad: true });
    return;
  }
  for (const via of outsideAddresses(config))
    route.replaceRoute({ dst: via.includes(':') ? '::/0' : '0.0.0.0/0', via, dev: UPLINK });
  if (member.kind === 'control-plane') routeToPods(config, route);
}

/** Pods reach the API server by their own address, as the Service `kubernetes` sends them: answers go by their node. */
function routeToPods(config: ClusterConfig, route: Route): void {
  for (const node of config.nodes)
    for (const dst of node.podCidrs) {
      const via = node.addresses.find((address) => address.includes(':') === dst.includes(':'));
      if (via !== undefined) route.replaceRoute({ dst, via, dev: UPLINK });
    }
}

const lengthOf = (cidr: string | undefined): string => cidr?.slice(cidr.indexOf('/') + 1) ?? '';

const macOf = ({ addresses }: Member): string => underlayMac(addresses[0]);

/** At most 15 bytes, as link names must be. */
const portName = (member: string, index: number): string =>
  member.length <= 13 ? `p-${member}` : `p${index}-${member.slice(-8)}`.slice(0, 15);

const mark = (config: ClusterConfig, what: string): string => `heddle:${config.id}:${what}`;

type Settings = Readonly<Record<string, number>>;

/** No address comes from anywhere but us, and none waits for duplicate detection. */
const HOST_SYSCTLS: Settings = {
  'net.ipv6.conf.all.accept_ra': 0,
  'net.ipv6.conf.default.accept_ra': 0,
  'net.ipv6.conf.default.autoconf': 0,
  'net.ipv6.conf.default.accept_dad': 0,
  'net.ipv6.conf.default.dad_transmits': 0,
};

/** `all` and `default` both: links are made later. The larger of `all` and the link's own rp_filter counts. */
const NODE_SYSCTLS: Settings = {
  ...HOST_SYSCTLS,
  'net.ipv4.ip_forward': 1,
  'net.ipv6.conf.all.forwarding': 1,
  'net.ipv6.conf.default.forwarding': 1,
  'net.ipv4.conf.all.rp_filter': 0,
  'net.ipv4.conf.default.rp_filter': 0,
  'net.ipv4.conf.all.send_redirects': 0,
  'net.ipv4.conf.default.send_redirects': 0,
  'net.ipv4.conf.all.accept_redirects': 0,
  'net.ipv4.conf.default.accept_redirects': 0,
  'net.ipv6.conf.all.accept_redirects': 0,
  'net.ipv6.conf.default.accept_redirects': 0,
};

function setAll(ns: Netns, settings: Settings): void {
  for (const [key, value] of Object.entries(settings)) writeSysctl(ns, key, value);
}
