/** CHECK of the main plugins: is everything that an attachment was given still there? */
import { closeNetns, type Netns } from '../../kernel/netns.ts';
import type { Link, Route } from '../../kernel/route.ts';
import { isShaped } from '../../kernel/shaper.ts';
import { type Details, rulesOf } from '../attachment.ts';
import { openPod } from '../open-pod.ts';
import { sourceFaults } from '../leases/source.ts';
import { hostInterfaceName } from '../names.ts';
import { addressesIn, interfaceIn } from '../prev-result.ts';
import type { CniRequest, CniResult } from '../types.ts';
import type { Mains } from './attach.ts';
import { bridgeFaults } from './check-bridge.ts';
import { ipvlanOf, macvlanOf } from './config.ts';
import { asHost, bare, withRoute } from './inside.ts';

interface CheckMain {
  readonly request: CniRequest;
  readonly prev: CniResult;
  readonly details: Details;
  readonly node: Route;
  readonly mains?: Mains;
}

/** In words. */
export function mainFaults({ request, prev, details, node, mains }: CheckMain): string[] {
  const index = interfaceIn(prev, request.ifName);
  if (index === undefined) return [`prevResult does not name the interface ${request.ifName}`];
  const { leased = [], source } = details;
  const said = new Set(addressesIn(prev, index));
  const rules = rulesOf(hostInterfaceName(request), details);
  return [
    ...leased
      .filter((address) => !said.has(bare(address)))
      .map((address) => `prevResult does not give ${request.ifName} its address ${bare(address)}`),
    ...hostFaults({ request, prev, index, node }, details),
    ...insideFaults(request, details, prev),
    ...sourceFaults(source, request, { addresses: leased, dhcp: mains?.dhcp }),
    ...(rules ? (mains?.rules.missing(rules) ?? []) : []),
  ];
}

interface HostSide {
  readonly request: CniRequest;
  readonly prev: CniResult;
  readonly index: number;
  readonly node: Route;
}

function hostFaults(side: HostSide, { main, leased = [], bandwidth }: Details): string[] {
  const { request, node } = side;
  if (main === 'macvlan' || main === 'ipvlan') return [];
  const name = hostInterfaceName(request);
  const host = node.link(name);
  if (!host?.up) return [`the host's end ${name} is missing or down`];
  const faults =
    bandwidth?.ingressRate !== undefined && !isShaped({ ifindex: host.index, ns: node.ns })
      ? [`what ${request.ifName} is sent is not limited any more`]
      : [];
  if (main === 'bridge') return [...faults, ...bridgeFaults({ ...side, host })];
  const routes = new Set(node.routes().flatMap(({ dst, dev }) => (dev === host.index ? [dst] : [])));
  return [
    ...faults,
    ...leased
      .filter((address) => !routes.has(asHost(address)))
      .map((address) => `the host has no route to ${bare(address)}`),
  ];
}

/** A link that somebody replaced may have another mode. */
function modeFaults({ ifName, config }: CniRequest, { mode }: Link, main: Details['main']): string[] {
  if (main !== 'macvlan' && main !== 'ipvlan') return [];
  const wanted = (main === 'macvlan' ? macvlanOf(config) : ipvlanOf(config)).mode;
  return mode === wanted ? [] : [`${ifName} is no ${main} link of mode ${wanted}`];
}

function insideFaults(
  request: CniRequest,
  { main, leased = [], bandwidth }: Details,
  prev: CniResult,
): string[] {
  const { netns: path, ifName, config } = request;
  const netns: Netns = openPod(path);
  try {
    return withRoute(netns, (route) => {
      const link = route.link(ifName);
      if (!link) return [`the interface ${ifName} is gone from the container`];
      if (!link.up && config['disableContainerInterface'] !== true) return [`${ifName} is down`];
      const there = new Set(
        route.addresses().flatMap((each) => (each.link === link.index ? [each.address] : [])),
      );
      const routes = new Set(route.routes().map(({ dst }) => dst));
      const limited = bandwidth?.egressRate === undefined || isShaped({ ifindex: link.index, ns: netns });
      return [
        ...(limited ? [] : [`what ${ifName} sends is not limited any more`]),
        ...modeFaults(request, link, main),
        ...leased.filter((address) => !there.has(address)).map((address) => `${ifName} lacks ${address}`),
        ...(prev.routes ?? [])
          .filter(({ dst }) => /^(0\.0\.0\.0|::)\/0$/.test(dst) && !routes.has(dst))
          .map(({ dst }) => `the container has no route to ${dst}`),
      ];
    });
  } finally {
    closeNetns(netns);
  }
}
