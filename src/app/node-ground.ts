/** What a node's namespace has before anything programs it: settings, links between nodes, and the way by them. */
import type { ClusterConfig, NodeConfig } from '../cluster/config.ts';
import type { NodePaths } from '../cluster/paths.ts';
import { setPodMtu } from '../cni/pod-mtu.ts';
import { setUpNode } from '../datapath/node-setup.ts';
import { createOverlay, type Overlay } from '../datapath/overlay.ts';
import { refuseTaken } from '../datapath/tunnel-links.ts';
import { openRoute, type Route } from '../kernel/route.ts';
import { readSysctl, writeSysctl } from '../kernel/sysctl.ts';
import { probeTunnels } from '../kernel/tunnel-features.ts';
import { createNodeWay, type NodeWay, type NodeWayDeps, podMtuBy } from './node-way.ts';

export interface GroundDeps extends Pick<NodeWayDeps, 'program' | 'pods' | 'log'> {
  readonly config: Pick<ClusterConfig, 'dnsAddresses' | 'routing' | 'vxlan'>;
  readonly self: NodeConfig;
  readonly paths: Pick<NodePaths, 'routing'>;
  /** Name of the link that nodes share. */
  readonly uplink: string;
}

export interface Ground {
  readonly route: Route;
  readonly way: NodeWay;
  readonly overlay: Overlay;
}

/** In this process's network namespace. @throws HeddleError `NoTunnel`, `UnderlayMtu`, `Sysctl`, `Netlink` */
export function openGround({ config, self, paths, uplink, program, pods, log }: GroundDeps): Ground {
  const route = openRoute();
  setUpNode(
    {
      readSysctl: (key) => readSysctl(undefined, key),
      writeSysctl: (key, value) => writeSysctl(undefined, key, value),
      route,
    },
    { dnsAddresses: config.dnsAddresses },
  );
  const mtuOf = podMtuBy(self, () => route.link(uplink)?.mtu ?? 0);
  const features = probeTunnels();
  const way = createNodeWay({
    path: paths.routing,
    configured: config.routing ?? 'vxlan',
    mtuOf,
    features: () => features,
    refuseTaken: (tunnel) => refuseTaken(route, tunnel),
    isIpv6Only: self.addresses.every((address) => address.includes(':')),
    program,
    pods,
    setPodMtu: (pod, mtu) => setPodMtu(route, pod, mtu),
    log,
  });
  const overlay = createOverlay(route, { ...config.vxlan, mtu: mtuOf, nodeAddresses: self.addresses });
  return { route, way, overlay };
}
