/** A bridge of the machine, of which containers are ports; with isGateway the machine has an address on it. */
import { createHash } from 'node:crypto';
import {
  type BridgeLink,
  filterVlans,
  joinTagged,
  joinVlan,
  leaveVlan,
  setBridgePort,
} from '../../kernel/bridge.ts';
import { writeLinkSettings } from '../../kernel/link-settings.ts';
import type { Link, Route } from '../../kernel/route.ts';
import { formatAddress, formatCidr, nth, overlaps, parseCidr } from '../../lib/ip.ts';
import { CniCode, CniError } from '../error.ts';
import type { Lease } from '../leases/types.ts';
import { hostInterfaceName, macAddresses, unfinishedAlias } from '../names.ts';
import { bridgeOf, type BridgeConfig, DEFAULT_VLAN, hasVlans } from './config.ts';
import { bare, bringUp, giveAddresses, giveRoutes, is6, withDefaults } from './inside.ts';
import type { Main, MainContext, MadeLink, Settled } from './types.ts';

/** Alias of bridges that were made here, and not found. */
export const BRIDGE_ALIAS = 'heddle:bridge';

export function bridgeMain(context: MainContext): Main {
  const config = bridgeOf(context.request.config);
  return {
    kind: 'bridge',
    masquerade: config.ipMasq,
    checkMac: config.checkMac,
    disabled: config.disabled,
    routed: config.isGateway,
    shared: true,
    make: (given) => make(given, config),
    settle: (given, made, lease) => settle(given, { config, made, lease }),
  };
}

function make({ request, node, netns, alias, mac, mtu }: MainContext, config: BridgeConfig): MadeLink {
  const bridge = ensureBridge(node, config, mtu);
  const name = hostInterfaceName(request);
  const macs = macAddresses(request);
  node.addVeth({
    name,
    alias: unfinishedAlias(alias),
    mac: macs.host,
    ...(mtu === undefined ? {} : { mtu }),
    peer: { name: request.ifName, netns, mac: mac ?? macs.pod, ...(mtu === undefined ? {} : { mtu }) },
  });
  node.setLink(name, { master: config.name, ipv6Addresses: 'none' });
  const host = needed(node, name);
  const port = { ifindex: host.index, ns: node.ns };
  if (config.hairpin || config.isolated)
    setBridgePort(port, { hairpin: config.hairpin, isolated: config.isolated });
  joinVlans(port, config);
  node.setLink(name, { up: true });
  return {
    interfaces: [
      { name: config.name, mac: bridge.mac, mtu: bridge.mtu },
      { name, mac: macs.host, mtu: host.mtu },
      { name: request.ifName, mac: mac ?? macs.pod, mtu: host.mtu, sandbox: request.netns },
    ],
    host,
  };
}

/** One that is there is used as it is. */
function ensureBridge(node: Route, config: BridgeConfig, mtu: number | undefined): Link {
  const { name, promisc } = config;
  const found = node.link(name);
  if (found && found.kind !== 'bridge')
    throw new CniError(CniCode.invalidConfig, `bridge "${name}" is the name of a link that is no bridge`);
  if (!found) {
    node.addBridge({ name, alias: BRIDGE_ALIAS, ...(mtu === undefined ? {} : { mtu }) });
    // Said once, it is its own: otherwise it changes with the ports that come and go.
    node.setLink(name, { mac: needed(node, name).mac });
  }
  const bridge = needed(node, name);
  const link = { ifindex: bridge.index, ns: node.ns };
  if (promisc) writeLinkSettings(link, { promisc });
  if (hasVlans(config)) filterVlans(link);
  if (!bridge.up) node.setLink(name, { up: true });
  return bridge;
}

function needed(node: Route, name: string): Link {
  const link = node.link(name);
  if (link) return link;
  throw new CniError(CniCode.failed, `the link ${name} is gone, somebody removed it`);
}

/** Out of the default VLAN first: it may be one of those that are asked for. */
function joinVlans(port: BridgeLink, config: BridgeConfig): void {
  const { vlan, trunk, keepDefaultVlan } = config;
  if (!hasVlans(config)) return;
  if (!keepDefaultVlan) leaveVlan(port, DEFAULT_VLAN);
  if (vlan !== undefined) joinVlan(port, vlan);
  for (const [first, last] of trunk) joinTagged(port, first, last);
}

interface Given {
  readonly config: BridgeConfig;
  readonly made: MadeLink;
  readonly lease: Lease;
}

function settle(context: MainContext, { config, lease }: Given): Settled {
  const { request, node, netns, forward } = context;
  const inside = { netns, ifName: request.ifName };
  const gateways = new Map(
    lease.addresses.flatMap(({ address, gateway }) =>
      config.isGateway || gateway !== undefined ? [[address, gateway ?? secondOf(address)] as const] : [],
    ),
  );
  giveAddresses(
    inside,
    lease.addresses.map(({ address }) => address),
  );
  if (!config.disabled) bringUp(inside);
  if (config.isGateway && lease.addresses.length > 0) {
    const link = config.vlan === undefined ? config.name : ensureVlanLink(node, config, config.vlan);
    for (const [address, gateway] of gateways) giveGateway(node, { link, address, gateway, config });
    forward(lease.addresses.map(({ address }) => address));
  }
  const routes = config.isDefaultGateway ? withDefaults(lease.routes, [...gateways.values()]) : lease.routes;
  giveRoutes(inside, routes, lease);
  return { routes, gateways };
}

const secondOf = (address: string): string => {
  const network = parseCidr(address);
  return formatAddress(nth(network, 1n) ?? network);
};

/** The machine's own place in a VLAN of the bridge: a veth with one end as its port. */
function ensureVlanLink(node: Route, config: BridgeConfig, vlan: number): string {
  const name = `${config.name}.${vlan}`;
  if (Buffer.byteLength(name) > 15)
    throw new CniError(
      CniCode.invalidConfig,
      `bridge "${config.name}" with vlan ${vlan}: ${name} is too long for a link`,
    );
  if (node.link(name)) return name;
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 10);
  const port = `hv${digest}`;
  node.addVeth({ name, alias: BRIDGE_ALIAS, peer: { name: port } });
  try {
    node.setLink(port, { master: config.name, ipv6Addresses: 'none', alias: BRIDGE_ALIAS });
    const { index } = needed(node, port);
    joinVlans({ ifindex: index, ns: node.ns }, { ...config, trunk: [], keepDefaultVlan: false });
    for (const each of [port, name]) node.setLink(each, { up: true });
  } catch (error) {
    node.deleteLink(name);
    throw error;
  }
  return name;
}

interface Gateway {
  readonly link: string;
  readonly address: string;
  readonly gateway: string;
  readonly config: BridgeConfig;
}

/** One address of IPv4, and one for each network of IPv6; another one gives way with forceAddress only. */
function giveGateway(node: Route, { link, address, gateway, config }: Gateway): void {
  const network = parseCidr(address);
  const wanted = `${gateway}/${network.length}`;
  const index = needed(node, link).index;
  const there = node
    .addresses()
    .filter(
      (each) =>
        each.link === index && is6(each.address) === is6(address) && !each.address.startsWith('fe80:'),
    )
    .map((each) => each.address);
  if (there.includes(wanted)) return;
  for (const other of there) {
    if (is6(other) && !overlaps(parseCidr(other), network)) continue;
    if (!config.forceAddress)
      throw new CniError(
        CniCode.invalidConfig,
        `${link} has the address ${other}; ${wanted} is expected for ${bare(address)} in ${formatCidr(network)}`,
        'forceAddress: true replaces it',
      );
    node.deleteAddress(link, other);
  }
  node.replaceAddress(link, wanted, { nodad: true });
}
