/** Which way nodes reach each other's pods: what was asked for, what they had, else VXLAN, which every kernel has. */
import { Option } from 'commander';
import { type Encapsulation, type Tunnel, TUNNELS } from '../datapath/encapsulation.ts';
import { type Feature } from '../kernel/features.ts';
import { probeTunnels, type TunnelFeatures } from '../kernel/tunnel-features.ts';
import { HeddleError } from '../lib/errors.ts';

export interface RoutingFlags {
  routing?: string;
  tunnel?: string;
}

/** The words of other networks for the same are understood too: Cilium's `routing-mode`, Calico's and Flannel's. */
const MODES: Readonly<Record<string, 'overlay' | 'native'>> = {
  overlay: 'overlay',
  tunnel: 'overlay',
  encap: 'overlay',
  native: 'native',
  direct: 'native',
  'host-gw': 'native',
};

export const routingOption = (): Option =>
  new Option(
    '--routing <mode>',
    'between nodes: overlay (also: tunnel), in packets of a tunnel; native (also: direct), by plain routes on the link that nodes share (default: overlay)',
  );

export const tunnelOption = (): Option =>
  new Option('--tunnel <protocol>', 'of the overlay: vxlan, geneve or gre (default: vxlan)');

/** Undefined where nothing was said. @throws HeddleError `BadFlag` */
export function askedWay({ routing, tunnel }: RoutingFlags): Encapsulation | undefined {
  const mode = routing !== undefined && Object.hasOwn(MODES, routing) ? MODES[routing] : undefined;
  if (routing !== undefined && mode === undefined)
    throw new HeddleError('BadFlag', `--routing "${routing}": expected overlay or native`, {
      hint: 'a tunnel is chosen by --tunnel: vxlan, geneve or gre',
    });
  const known = TUNNELS.find((each) => each === tunnel);
  if (tunnel !== undefined && known === undefined)
    throw new HeddleError('BadFlag', `--tunnel "${tunnel}": expected ${TUNNELS.join(', ')}`);
  if (mode === 'native' && known !== undefined)
    throw new HeddleError(
      'BadFlag',
      `--routing ${routing} has no tunnel, and --tunnel ${tunnel} asks for one`,
    );
  return mode === 'native' ? 'native' : (known ?? (mode === 'overlay' ? 'vxlan' : undefined));
}

/**
 * @param probe asked only for what not every kernel has
 * @throws HeddleError `BadFlag`, `NoTunnel`
 */
export function chooseRouting(
  flags: RoutingFlags,
  kept: Encapsulation | undefined,
  isIpv6Only: boolean,
  probe: () => TunnelFeatures = probeTunnels,
): Encapsulation | undefined {
  // `--routing overlay` alone keeps the tunnel that the cluster has.
  const keepsTunnel = flags.tunnel === undefined && kept !== undefined && kept !== 'native';
  const asked = askedWay(flags);
  const way = asked === undefined || (asked === 'vxlan' && keepsTunnel) ? kept : asked;
  if (way === 'geneve' || way === 'gre') refuseMissing(way, tunnelFeature(probe(), way, isIpv6Only));
  return way;
}

export const tunnelFeature = (features: TunnelFeatures, tunnel: Tunnel, isIpv6Only: boolean): Feature =>
  features[tunnel === 'gre' && isIpv6Only ? 'ip6gre' : tunnel];

function refuseMissing(tunnel: Tunnel, { ok, why, hint }: Feature): void {
  if (ok) return;
  throw new HeddleError('NoTunnel', `this kernel has no ${tunnel.toUpperCase()}: ${why ?? 'missing'}`, {
    hint: `${hint ?? ''}; or choose --tunnel vxlan, or --routing native`,
  });
}
