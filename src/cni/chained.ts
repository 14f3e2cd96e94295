/** Ports and limits for an interface that an earlier plugin of the list made. */
import type { Ipam, Owner } from '../ipam/ipam.ts';
import type { Netns } from '../kernel/netns.ts';
import { type Link, openRoute, type Route } from '../kernel/route.ts';
import { unshapeLink } from '../kernel/shaper.ts';
import { detailsFor } from './attachment.ts';
import { shapeEnds } from './bandwidth.ts';
import { CniCode, CniError } from './error.ts';
import type { HostPorts } from './host-ports.ts';
import type { MetaKind } from './meta/types.ts';
import { addressesIn, interfaceIn, networksIn } from './prev-result.ts';
import type { CniRequest, CniResult } from './types.ts';
import type { Wishes } from './wishes.ts';

export interface ChainedDeps {
  request: CniRequest;
  prev: CniResult;
  wishes: Wishes;
  owner: Owner;
  /** What is its in the machine's rules has this name. */
  mark: string;
  /** The function alone that this is, in an entry of its own. */
  meta?: MetaKind;
  netns: Netns;
  node: Route;
  ipam: Ipam;
  hostPorts: HostPorts | undefined;
}

/** @throws CniError, HeddleError */
export async function dressChained(deps: ChainedDeps): Promise<void> {
  const { request, prev, wishes, owner, mark, meta, netns, node, ipam, hostPorts } = deps;
  refuseChoices(wishes, request.ifName);
  const { host, pod } = endsOf(request, netns, node);
  const index = interfaceIn(prev, request.ifName) ?? 0;
  const addresses = addressesIn(prev, index);
  const networks = networksIn(prev, index);
  // Without a host's end nothing of ours is at a link, and the books alone say what is ours.
  const chained = host?.name ?? 'lo';
  await ipam.allocate(
    {
      ...owner,
      details: {
        ...detailsFor(request, wishes),
        chained,
        foreign: addresses,
        ...(networks.length > 0 ? { networks } : {}),
        ...(meta === undefined ? {} : { meta }),
      },
    },
    { none: true },
  );
  if (wishes.bandwidth) {
    if (!host)
      throw new CniError(
        CniCode.unsupportedField,
        `bandwidth ${JSON.stringify(wishes.bandwidth)} is for veth links only; ${request.ifName} is another kind`,
      );
    shapeEnds(wishes.bandwidth, { nodeNs: node.ns, host: host.index, netns, pod: pod.index });
  }
  hostPorts?.publish({ link: mark, label: owner.label, ports: wishes.ports, addresses, networks });
}

/** Its addresses, and what else was chosen for it, were an earlier plugin's to choose. */
function refuseChoices({ mac, addresses, ranges, aliases }: Wishes, ifName: string): void {
  const chosen = Object.entries({ mac, ips: addresses, ipRanges: ranges, aliases }).find(
    ([, value]) => value !== undefined && value.length > 0,
  );
  if (chosen)
    throw new CniError(
      CniCode.unsupportedField,
      `${chosen[0]} ${JSON.stringify(chosen[1])} comes too late: ${ifName} was made by a plugin before heddle-cni`,
    );
}

function endsOf({ ifName }: CniRequest, netns: Netns, node: Route): { host: Link | undefined; pod: Link } {
  const route = openRoute(netns);
  try {
    const pod = route.link(ifName);
    if (!pod)
      throw new CniError(
        CniCode.invalidConfig,
        `prevResult names the interface ${ifName}, which is not in the container`,
      );
    const host = node
      .links()
      .find(({ index, peer, kind }) => index === pod.peer && peer === pod.index && kind === 'veth');
    return { host, pod };
  } finally {
    route.close();
  }
}

/** What the container sends is no longer limited when its link is gone, which is another plugin's to remove. */
export function undressChained(node: Route, name: string): void {
  const link = node.link(name);
  if (link && link.kind === 'veth') unshapeLink({ ifindex: link.index, ns: node.ns });
}
