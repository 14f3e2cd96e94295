/** A veth pair for each container: the machine's end has the gateway's address, and a route to each of the container's. */
import { booleanOf } from '../leases/read.ts';
import { formatAddress, formatCidr, nth, parseCidr } from '../../lib/ip.ts';
import { CniCode, CniError } from '../error.ts';
import type { Lease } from '../leases/types.ts';
import { hostInterfaceName, macAddresses, unfinishedAlias } from '../names.ts';
import { asHost, bare, bringUp, giveAddresses, giveRoutes, withRoute } from './inside.ts';
import type { Main, MainContext, MadeLink, Settled } from './types.ts';

export function ptpMain({ request }: MainContext): Main {
  return {
    kind: 'ptp',
    masquerade: booleanOf(request.config['ipMasq'], 'ipMasq'),
    checkMac: false,
    disabled: false,
    routed: true,
    shared: false,
    make,
    settle,
  };
}

function make({ request, node, netns, alias, mac, mtu }: MainContext): MadeLink {
  const name = hostInterfaceName(request);
  const macs = macAddresses(request);
  const size = mtu === undefined ? {} : { mtu };
  node.addVeth({
    name,
    alias: unfinishedAlias(alias),
    mac: macs.host,
    ...size,
    peer: { name: request.ifName, netns, mac: mac ?? macs.pod, ...size },
  });
  node.setLink(name, { up: true });
  const host = node.link(name);
  return {
    interfaces: [
      { name, mac: macs.host, mtu: host?.mtu ?? 0 },
      { name: request.ifName, mac: mac ?? macs.pod, mtu: host?.mtu ?? 0, sandbox: request.netns },
    ],
    host,
  };
}

function settle({ request, node, netns, forward }: MainContext, made: MadeLink, lease: Lease): Settled {
  const { ifName } = request;
  const inside = { netns, ifName };
  if (lease.addresses.length === 0)
    throw new CniError(CniCode.invalidConfig, 'ptp needs addresses: expected ipam with a type');
  const name = made.host?.name ?? '';
  const gateways = new Map(
    lease.addresses.map(({ address, gateway }) => [address, gateway ?? secondOf(address)] as const),
  );
  giveAddresses(
    inside,
    lease.addresses.map(({ address }) => address),
    { noPrefixRoute: true },
  );
  bringUp(inside);
  for (const [address, gateway] of gateways) {
    // The machine's end first: it answers for the gateway from then on.
    node.replaceAddress(name, asHost(gateway), { nodad: true });
    node.replaceRoute({ dst: asHost(address), dev: name });
    wayOut(inside, address, gateway);
  }
  forward(lease.addresses.map(({ address }) => bare(address)));
  giveRoutes(inside, lease.routes, lease);
  return { routes: lease.routes, gateways };
}

const secondOf = (address: string): string => {
  const network = parseCidr(address);
  return formatAddress(nth(network, 1n) ?? network);
};

/** Nobody of the container's network is on the link but the gateway. */
function wayOut(
  { netns, ifName }: { netns: MainContext['netns']; ifName: string },
  address: string,
  via: string,
) {
  withRoute(netns, (route) => {
    route.replaceRoute({ dst: asHost(via), dev: ifName });
    const network = parseCidr(address);
    if (network.length < (network.family === 4 ? 32 : 128)) {
      route.replaceRoute({ dst: formatCidr(network), via, dev: ifName, onlink: true, src: bare(address) });
    }
  });
}
