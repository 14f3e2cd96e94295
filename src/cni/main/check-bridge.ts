/** CHECK of a bridge's port: VLANs, hairpin, isolation, and the machine's own address in its network. */
import { type PortVlan, vlansOf } from '../../kernel/bridge.ts';
import type { Link, Route } from '../../kernel/route.ts';
import { addressesIn } from '../prev-result.ts';
import type { CniRequest, CniResult } from '../types.ts';
import { type BridgeConfig, bridgeOf, DEFAULT_VLAN, hasVlans } from './config.ts';

export interface CheckPort {
  readonly request: CniRequest;
  readonly prev: CniResult;
  /** Of the container's interface in `prev`. */
  readonly index: number;
  readonly node: Route;
  /** The host's end. */
  readonly host: Link;
}

/** In words. */
export function bridgeFaults({ request, prev, index, node, host }: CheckPort): string[] {
  const bridge = node.links().find((link) => link.index === host.master);
  if (!bridge?.up) return [`${host.name} is no port of a bridge that is up`];
  const config = bridgeOf(request.config);
  const faults: string[] = [];
  if (bridge.name !== config.name)
    faults.push(`${host.name} is a port of ${bridge.name}, not of ${config.name}`);
  if (config.hairpin && !host.port?.hairpin) faults.push(`${host.name} has lost hairpinMode`);
  if (config.isolated && !host.port?.isolated) faults.push(`${host.name} is not isolated any more`);
  return [
    ...faults,
    ...vlanFaults(config, bridge, host, node),
    ...gatewayFaults(config, { node, bridge, prev, index }),
  ];
}

function vlanFaults(config: BridgeConfig, bridge: Link, host: Link, node: Route): string[] {
  if (!hasVlans(config)) return [];
  if (!bridge.filtersVlans) return [`${bridge.name} does not tell VLANs apart any more`];
  const there = vlansOf({ ifindex: host.index, ns: node.ns });
  const within = (vlan: number) => there.find(({ first, last }) => first <= vlan && vlan <= last);
  const { vlan, trunk, keepDefaultVlan } = config;
  const asked = [...(vlan === undefined ? [] : [[vlan, vlan] as const]), ...trunk];
  const faults = asked.flatMap(([first, last]) => {
    const lost = firstOutside(there, first, last);
    return lost === undefined ? [] : [`${host.name} is not in VLAN ${lost}`];
  });
  if (vlan !== undefined && within(vlan) && !(within(vlan)?.pvid && within(vlan)?.untagged))
    faults.push(`frames of ${host.name} without a tag are not of VLAN ${vlan}`);
  const wantsDefault =
    keepDefaultVlan || asked.some(([first, last]) => first <= DEFAULT_VLAN && DEFAULT_VLAN <= last);
  if (!wantsDefault && within(DEFAULT_VLAN)) faults.push(`${host.name} is in VLAN ${DEFAULT_VLAN}`);
  return faults;
}

function firstOutside(there: readonly PortVlan[], first: number, last: number): number | undefined {
  for (let vlan = first; vlan <= last; vlan++)
    if (!there.some((range) => range.first <= vlan && vlan <= range.last)) return vlan;
  return undefined;
}

interface Gateway {
  readonly node: Route;
  readonly bridge: Link;
  readonly prev: CniResult;
  readonly index: number;
}

/** The machine is the way out only as long as it has the gateway's address. */
function gatewayFaults(config: BridgeConfig, { node, bridge, prev, index }: Gateway): string[] {
  if (!config.isGateway) return [];
  const own = new Set(addressesIn(prev, index));
  const gateways = (prev.ips ?? []).flatMap(({ address, gateway }) =>
    gateway !== undefined && own.has(address.split('/')[0] ?? '') ? [gateway] : [],
  );
  const name = config.vlan === undefined ? bridge.name : `${bridge.name}.${config.vlan}`;
  const link = node.link(name);
  const there = new Set(
    node.addresses().flatMap((each) => (each.link === link?.index ? [each.address.split('/')[0]] : [])),
  );
  return gateways
    .filter((gateway) => !there.has(gateway))
    .map((gateway) => `${name} lacks the gateway's address ${gateway}`);
}
