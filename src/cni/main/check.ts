/** CHECK of the main plugins: is everything that an attachment was given still there? */
import { closeNetns, type Netns } from '../../kernel/netns.ts';
import type { Route } from '../../kernel/route.ts';
import { type Details, rulesOf } from '../attachment.ts';
import { openPod } from '../open-pod.ts';
import { sourceFaults } from '../leases/source.ts';
import { hostInterfaceName } from '../names.ts';
import { addressesIn, interfaceIn } from '../prev-result.ts';
import type { CniRequest, CniResult } from '../types.ts';
import type { Mains } from './attach.ts';
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
    ...hostFaults(request, details, node),
    ...insideFaults(request, leased, prev),
    ...sourceFaults(source, request, { addresses: leased, dhcp: mains?.dhcp }),
    ...(rules ? (mains?.rules.missing(rules) ?? []) : []),
  ];
}

function hostFaults(request: CniRequest, { main, leased = [] }: Details, node: Route): string[] {
  if (main === 'macvlan' || main === 'ipvlan') return [];
  const name = hostInterfaceName(request);
  const host = node.link(name);
  if (!host?.up) return [`the host's end ${name} is missing or down`];
  if (main === 'bridge') {
    const bridge = node.links().find(({ index }) => index === host.master);
    return bridge?.up ? [] : [`${name} is no port of a bridge that is up`];
  }
  const routes = new Set(node.routes().flatMap(({ dst, dev }) => (dev === host.index ? [dst] : [])));
  return leased
    .filter((address) => !routes.has(asHost(address)))
    .map((address) => `the host has no route to ${bare(address)}`);
}

function insideFaults(
  { netns: path, ifName, config }: CniRequest,
  leased: readonly string[],
  prev: CniResult,
) {
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
      return [
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
