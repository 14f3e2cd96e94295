/**
 * Two pods of one node, connected: by a data path of ours with a NetworkPolicy on both ends, its connection tracking,
 * flow counters and events, or by a veth and a bridge with nothing on.
 */
import type { NetworkPolicy } from '../src/api/types.ts';
import { createPlan } from '../src/datapath/plan/plan.ts';
import { createLab } from '../src/datapath/testing/lab.ts';
import { openNftables } from '../src/datapath/testing/nftables.ts';
import type { Netns } from '../src/kernel/netns.ts';
import { openRoute } from '../src/kernel/route.ts';
import { writeSysctl } from '../src/kernel/sysctl.ts';
import { testNetns } from '../src/kernel/test-netns.ts';
import { compile } from '../src/policy/compile.ts';
import type { OpenBackend } from '../src/datapath/testing/cluster.ts';
import { openEbpfWith } from '../src/datapath/testing/ebpf.ts';
import type { Benchmark, Contender } from './harness.ts';
import { type Connection, connect } from './ping-pong.ts';

interface Cleanup {
  after(fn: () => void): void;
}

const policies = (['Ingress', 'Egress'] as const).map(
  (type): NetworkPolicy => ({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'default', name: `all-${type.toLowerCase()}` },
    spec: {
      podSelector: {},
      policyTypes: [type],
      [type === 'Ingress' ? 'ingress' : 'egress']: [
        {
          [type === 'Ingress' ? 'from' : 'to']: [{ podSelector: {} }],
          ports: [{ port: 7000, endPort: 7001 }],
        },
      ],
    },
  }),
);

/** Thousands of connections between the same ends: or ports wait a minute each. */
const reusePorts = (ns: Netns): void => writeSysctl(ns, 'net/ipv4/tcp_tw_reuse', '1');

async function ours(t: Cleanup, openBackend: OpenBackend): Promise<Connection> {
  const lab = createLab(t, 1);
  const [node] = lab.nodes;
  if (!node) throw new Error('the lab has no node');
  const pods = [node.addPod('a'), node.addPod('b')];
  const [a, b] = pods;
  if (!a || !b) throw new Error('the lab has no pods');
  const plan = createPlan({ node: node.name });
  plan.setSettings(node.settings);
  plan.setLocalPods(node.pods());
  const world = {
    pods: pods.map(({ name, addresses }) => ({
      namespace: 'default',
      name,
      node: node.name,
      labels: {},
      addresses,
      ports: [],
    })),
    namespaces: [],
    nodes: [],
    policies,
  };
  plan.setPolicy(compile(world, { onlyNode: node.name }));
  plan.update();
  await openBackend(t, node).prune(plan.state);
  for (const { ns } of pods) reusePorts(ns);
  return connect(a.ns, b.ns, b.addresses[0]);
}

function bridged(t: Cleanup): Promise<Connection> {
  const hub = testNetns(t);
  const route = openRoute(hub);
  t.after(() => route.close());
  route.addBridge({ name: 'br0' });
  route.setLink('br0', { up: true });
  const [a, b] = [1, 2].map((n): Netns => {
    const ns = testNetns(t);
    const inner = openRoute(ns);
    t.after(() => inner.close());
    route.addVeth({ name: `p${n}`, peer: { name: 'eth0', netns: ns } });
    route.setLink(`p${n}`, { master: 'br0', up: true });
    inner.setLink('eth0', { up: true });
    inner.replaceAddress('eth0', `10.9.0.${n}/24`);
    reusePorts(ns);
    return ns;
  });
  if (!a || !b) throw new Error('the bridge has no ports');
  return connect(a, b, '10.9.0.2');
}

export interface Measurement {
  readonly name: string;
  readonly unit: string;
  /** A figure of one run, in `unit`. */
  measure(connection: Connection): number;
}

/** eBPF against the bridge and against nftables, by the same measurement. */
export async function comparePods({ name, unit, measure }: Measurement): Promise<Benchmark> {
  const undo: (() => void)[] = [];
  const t: Cleanup = { after: (fn) => undo.push(fn) };
  const close = () => {
    for (const fn of undo.toReversed()) fn();
    undo.length = 0;
    return Promise.resolve();
  };
  async function contender(label: string, connecting: Promise<Connection>): Promise<Contender> {
    const connection = await connecting;
    t.after(() => connection.close());
    return { name: label, measure: async () => measure(connection) };
  }
  try {
    return {
      name,
      unit,
      larger: true,
      ours: await contender('eBPF, policy on both ends', ours(t, openEbpfWith({ parts: () => [] }))),
      peers: [
        await contender('veth and bridge, nothing on', bridged(t)),
        await contender('nftables, policy on both ends', ours(t, openNftables)),
      ],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
