/**
 * Pod to pod on one node: our routed veth with connection tracking, a NetworkPolicy on both ends, counters and
 * log rules, against veth and a bridge with nothing on.
 */
import type { NetworkPolicy } from '../src/api/types.ts';
import { createPlan } from '../src/datapath/plan/plan.ts';
import { createLab } from '../src/datapath/testing/lab.ts';
import { openNftables } from '../src/datapath/testing/nftables.ts';
import type { Netns } from '../src/kernel/netns.ts';
import { openRoute } from '../src/kernel/route.ts';
import { testNetns } from '../src/kernel/test-netns.ts';
import { compile } from '../src/policy/compile.ts';
import type { Benchmark, Contender } from './harness.ts';
import { type Connection, connect } from './ping-pong.ts';

const ROUND_TRIPS = 20_000;

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
        { [type === 'Ingress' ? 'from' : 'to']: [{ podSelector: {} }], ports: [{ port: 7000 }] },
      ],
    },
  }),
);

async function ours(t: Cleanup): Promise<Connection> {
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
  await openNftables(t, node).prune(plan.state);
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
    return ns;
  });
  if (!a || !b) throw new Error('the bridge has no ports');
  return connect(a, b, '10.9.0.2');
}

const contender = (name: string, connection: Connection, count: number): Contender => ({
  name,
  measure: async () => count / connection.roundTrips(count),
});

export async function benchmark(options: { quick: boolean }): Promise<Benchmark> {
  const undo: (() => void)[] = [];
  const t: Cleanup = { after: (fn) => undo.push(fn) };
  const count = options.quick ? ROUND_TRIPS / 4 : ROUND_TRIPS;
  const close = () => {
    for (const fn of undo.toReversed()) fn();
    undo.length = 0;
    return Promise.resolve();
  };
  try {
    const own = await ours(t);
    t.after(() => own.close());
    const peer = await bridged(t);
    t.after(() => peer.close());
    return {
      name: 'pod-to-pod',
      unit: 'round trips/s',
      larger: true,
      ours: contender('routed veth, policy on both ends (nftables)', own, count),
      peers: [contender('veth and bridge, nothing on', peer, count)],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
