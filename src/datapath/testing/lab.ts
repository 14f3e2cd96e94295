/**
 * A small cluster out of namespaces, as `heddle up` builds it, without anything that is not network: an underlay,
 * nodes, pods, and an outside that knows no way back to pods.
 */
import type { TestContext } from 'node:test';
import type { Netns } from '../../kernel/netns.ts';
import { openRoute, type Route } from '../../kernel/route.ts';
import { readSysctl, writeSysctl } from '../../kernel/sysctl.ts';
import { testNetns } from '../../kernel/test-netns.ts';
import { ENCAPSULATIONS } from '../encapsulation.ts';
import { setUpNode } from '../node-setup.ts';
import type { LocalPod, RemoteNode, Settings } from '../plan/tables.ts';

export const OUTSIDE = ['192.0.2.1', '2001:db8::1'] as const;
/** Where the outside is on the underlay: a second client that is no node. */
export const GATEWAYS = ['10.240.0.254', 'fd00:10:240::fe'] as const;
const HOST_MAC = '02:00:00:00:00:fe';

export interface Lab {
  readonly outside: Netns;
  readonly nodes: readonly LabNode[];
  /** Every pod, in the order of their making. */
  readonly pods: readonly LabPod[];
}

export interface LabNode {
  readonly name: string;
  readonly ns: Netns;
  readonly route: Route;
  readonly settings: Settings;
  readonly remote: RemoteNode;
  addPod(name: string): LabPod;
  pods(): LocalPod[];
}

export interface LabPod {
  /** `default/name` */
  readonly key: string;
  readonly name: string;
  readonly node: string;
  readonly ns: Netns;
  /** IPv4, IPv6. */
  readonly addresses: readonly [string, string];
  readonly interface: string;
  readonly mac: string;
}

/** `HEDDLE_ROUTING=native`: the way between the nodes of every lab. */
const way = ENCAPSULATIONS.find((name) => name === process.env['HEDDLE_ROUTING']);

type After = Pick<TestContext, 'after'>;

/** @param change of every node's settings */
export function createLab(t: After, nodeCount = 2, change: Partial<Settings> = {}): Lab {
  const underlay = testNetns(t);
  const bridge = open(t, underlay);
  bridge.addBridge({ name: 'br0' });
  bridge.setLink('br0', { up: true });
  const outside = testNetns(t);
  const beyond = createOutside(t, bridge, outside);
  const pods: LabPod[] = [];
  const nodes = Array.from({ length: nodeCount }, (_, i) =>
    createNode(t, { bridge, beyond, pods, change }, i + 1),
  );
  return { outside, nodes, pods };
}

function open(t: After, ns: Netns): Route {
  const route = openRoute(ns);
  t.after(() => route.close());
  return route;
}

function plug(bridge: Route, port: string, ns: Netns, route: Route, mac: string): void {
  bridge.addVeth({ name: port, peer: { name: 'eth0', netns: ns, mac } });
  bridge.setLink(port, { master: 'br0', up: true });
  route.setLink('eth0', { up: true });
}

function createOutside(t: After, bridge: Route, ns: Netns): Route {
  const route = open(t, ns);
  plug(bridge, 'outside', ns, route, '02:00:00:00:ff:fe');
  route.replaceAddress('eth0', `${GATEWAYS[0]}/24`);
  route.replaceAddress('eth0', `${GATEWAYS[1]}/64`, { nodad: true });
  route.replaceAddress('lo', `${OUTSIDE[0]}/32`);
  route.replaceAddress('lo', `${OUTSIDE[1]}/128`, { nodad: true });
  return route;
}

interface World {
  readonly bridge: Route;
  /** Of the outside. */
  readonly beyond: Route;
  readonly pods: LabPod[];
  readonly change: Partial<Settings>;
}

function createNode(t: After, { bridge, beyond, pods, change }: World, number: number): LabNode {
  const ns = testNetns(t);
  const route = open(t, ns);
  const name = `node-${number}`;
  const addresses = [`10.240.0.${10 + number}`, `fd00:10:240::${10 + number}`];
  setUpNode(
    {
      readSysctl: (key) => readSysctl(ns, key),
      writeSysctl: (key, value) => writeSysctl(ns, key, value),
      route,
    },
    { dnsAddresses: ['10.96.0.10', 'fd00:10:96::a'] },
  );
  const mac = `02:00:00:00:ff:${hexByte(number)}`;
  plug(bridge, name, ns, route, mac);
  // Asked for by the address on the outside's `lo`, a node would look for that address on the link.
  for (const address of addresses) beyond.replaceNeighbour({ dev: 'eth0', address, mac });
  route.replaceAddress('eth0', `${addresses[0]}/24`);
  route.replaceAddress('eth0', `${addresses[1]}/64`, { nodad: true });
  route.replaceRoute({ dst: '0.0.0.0/0', via: GATEWAYS[0], dev: 'eth0' });
  route.replaceRoute({ dst: '::/0', via: GATEWAYS[1], dev: 'eth0' });
  const podCidrs = [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`];
  const settings: Settings = {
    node: name,
    nodeAddresses: addresses,
    nodePodCidrs: podCidrs,
    podCidrs: ['10.244.0.0/16', 'fd00:10:244::/48'],
    serviceCidrs: ['10.96.0.0/16', 'fd00:10:96::/112'],
    underlayCidrs: ['10.240.0.0/24', 'fd00:10:240::/64'],
    podLinks: 'veth',
    tunnelPort: 4789,
    ...(way ? { routing: { sends: way, accepts: [way] } } : {}),
    ...change,
  };
  const local: LabPod[] = [];
  return {
    name,
    ns,
    route,
    settings,
    remote: { node: name, addresses, podCidrs },
    addPod(podName) {
      const pod = createPod(t, { ns, route, name, number }, podName, local.length + 2);
      local.push(pod);
      pods.push(pod);
      return pod;
    },
    pods: () =>
      local.map((pod) => ({
        namespace: 'default',
        name: pod.name,
        interface: pod.interface,
        addresses: pod.addresses,
        mac: pod.mac,
        netns: pod.ns.path,
      })),
  };
}

function createPod(
  t: After,
  node: { ns: Netns; route: Route; name: string; number: number },
  name: string,
  index: number,
): LabPod {
  const ns = testNetns(t);
  const inner = open(t, ns);
  const [host, mac] = [`veth${index}`, `02:00:00:00:${hexByte(node.number)}:${hexByte(index)}`];
  const addresses = [`10.244.${node.number}.${index}`, `fd00:10:244:${node.number}::${index}`] as const;
  node.route.addVeth({
    name: host,
    mtu: 1450,
    mac: HOST_MAC,
    alias: `heddle:pod:default/${name}:${name}`,
    peer: { name: 'eth0', netns: ns, mac },
  });
  node.route.setLink(host, { up: true, ipv6Addresses: 'none' });
  inner.setLink('eth0', { up: true, mtu: 1450 });
  const gateways = ['169.254.1.1', 'fe80::1'] as const;
  for (const [i, address] of addresses.entries()) {
    const bits = i === 0 ? 32 : 128;
    inner.replaceAddress('eth0', `${address}/${bits}`, { nodad: true });
    inner.replaceNeighbour({ dev: 'eth0', address: gateways[i] ?? '', mac: HOST_MAC });
    inner.replaceRoute({
      dst: i === 0 ? '0.0.0.0/0' : '::/0',
      via: gateways[i] ?? '',
      dev: 'eth0',
      onlink: true,
    });
    node.route.replaceRoute({ dst: `${address}/${bits}`, dev: host });
    node.route.replaceNeighbour({ dev: host, address, mac });
  }
  return { key: `default/${name}`, name, node: node.name, ns, addresses, interface: host, mac };
}

const hexByte = (value: number): string => value.toString(16).padStart(2, '0');

/** The outside has ways to the pods of each node, as a router that was told has. */
export function knowPods(t: After, { outside, nodes }: Lab): void {
  const route = openRoute(outside);
  t.after(() => route.close());
  for (const { remote } of nodes)
    for (const dst of remote.podCidrs) {
      const via = remote.addresses.find((address) => address.includes(':') === dst.includes(':'));
      route.replaceRoute({ dst, via: via ?? '', dev: 'eth0' });
    }
}
