/** A lab whose nodes have plans and backends, told what services and policies there are. */
import type { TestContext } from 'node:test';
import type { EndpointSlice, NetworkPolicy, Node, Service } from '../../api/types.ts';
import { compile } from '../../policy/compile.ts';
import { policyObject } from '../../policy/testing/arbitraries.ts';
import type { PolicyTables } from '../../policy/tables.ts';
import type { World } from '../../policy/world.ts';
import type { Backend } from '../backend.ts';
import { createPlan, type Plan } from '../plan/plan.ts';
import { sameJson } from '../../lib/json.ts';
import { type Change, frontendKey, type RemoteNode, type ServiceFrontend } from '../plan/tables.ts';
import { type FrontendWish, frontendsOn } from './frontends.ts';
import { createLab, type Lab, type LabNode, type LabPod } from './lab.ts';

export type OpenBackend<B extends Backend = Backend> = (t: Pick<TestContext, 'after'>, node: LabNode) => B;

export interface Cluster<B extends Backend = Backend> {
  readonly lab: Lab;
  readonly plans: readonly Plan[];
  readonly backends: B[];
  /** `pods` on node 1, `others` on node 2. */
  readonly pod: (name: string) => LabPod;
  /** Pods labelled `app: name`, all in `default`. */
  setPolicies(specs: Readonly<Record<string, NetworkPolicy['spec']>>): Promise<readonly PolicyTables[]>;
  setService(name: string, index: number, ports: readonly ServicePort[], backends: readonly LabPod[]): void;
  /** Exactly these frontends, past the plan: what it says of Services is not the backends' business. */
  setFrontends(wishes: readonly FrontendWish[]): Promise<void>;
  /** Applies what has changed on every node. */
  apply(): Promise<void>;
}

export interface ServicePort {
  readonly port: number;
  readonly target: number;
  readonly protocol?: 'TCP' | 'UDP';
}

/** Cluster addresses of the service that was set with `index`. */
export const serviceAddresses = (index: number): readonly [string, string] => [
  `10.96.0.${index}`,
  `fd00:10:96::${index}`,
];

export async function createCluster<B extends Backend>(
  t: TestContext,
  openBackend: OpenBackend<B>,
  pods: readonly (readonly string[])[] = [['a', 'b'], ['c']],
): Promise<Cluster<B>> {
  const lab = createLab(t, pods.length);
  for (const [i, names] of pods.entries()) for (const name of names) lab.nodes[i]?.addPod(name);
  const plans = lab.nodes.map((node) => createPlan({ node: node.name }));
  const backends = lab.nodes.map((node) => openBackend(t, node));
  for (const [i, plan] of plans.entries()) {
    const node = lab.nodes[i]!;
    plan.setSettings(node.settings);
    plan.setLocalPods(node.pods());
    for (const { remote } of lab.nodes) plan.setNode(nodeObject(remote));
    plan.update();
    await backends[i]?.prune(plan.state);
  }
  const apply = async () => {
    for (const [i, plan] of plans.entries()) await backends[i]?.apply(plan.update());
  };
  const served = lab.nodes.map(() => new Map<string, ServiceFrontend>());
  return {
    lab,
    plans,
    backends,
    pod(name) {
      const found = lab.pods.find((each) => each.name === name);
      if (!found) throw new Error(`there is no pod ${name}`);
      return found;
    },
    async setPolicies(specs) {
      const world = worldOf(lab, specs);
      const tables = lab.nodes.map((node) => compile(world, { onlyNode: node.name }));
      for (const [i, plan] of plans.entries()) plan.setPolicy(tables[i]!);
      await apply();
      return tables;
    },
    setService(name, index, ports, targets) {
      for (const plan of plans) {
        plan.setService(serviceObject(name, index, ports));
        plan.setSlices(`default/${name}`, slicesOf(name, ports, targets));
      }
    },
    async setFrontends(wishes) {
      for (const [i, backend] of backends.entries()) {
        const before = served[i]!;
        const after = new Map(frontendsOn(lab.nodes[i]!, wishes).map((each) => [frontendKey(each), each]));
        served[i] = after;
        const gone = [...before.keys()].filter((key) => !after.has(key));
        const changes: Change[] = [
          ...gone.map((key): Change => ({ table: 'services', key, value: undefined })),
          ...[...after]
            .filter(([key, value]) => !sameJson(before.get(key), value))
            .map(([key, value]): Change => ({ table: 'services', key, value })),
        ];
        await backend.apply(changes);
      }
    },
    apply,
  };
}

function worldOf(lab: Lab, specs: Readonly<Record<string, NetworkPolicy['spec']>>): World {
  return {
    pods: lab.pods.map(({ name, node, addresses }) => ({
      namespace: 'default',
      name,
      node,
      labels: { app: name },
      addresses,
      ports: [],
    })),
    namespaces: [{ name: 'default', labels: {} }],
    nodes: lab.nodes.map(({ name, remote }) => ({ name, addresses: remote.addresses })),
    policies: Object.entries(specs).map(([name, spec]) => policyObject('default', name, spec)),
  };
}

const serviceObject = (name: string, index: number, ports: readonly ServicePort[]): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'default', name },
  spec: {
    clusterIPs: [...serviceAddresses(index)],
    ports: ports.map(({ port, protocol = 'TCP' }) => ({ name: `${protocol}-${port}`, port, protocol })),
  },
});

const slicesOf = (name: string, ports: readonly ServicePort[], targets: readonly LabPod[]): EndpointSlice[] =>
  ([0, 1] as const).map((family) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace: 'default', name: `${name}-${family}` },
    addressType: family === 0 ? 'IPv4' : 'IPv6',
    ports: ports.map(({ port, target, protocol = 'TCP' }) => ({
      name: `${protocol}-${port}`,
      port: target,
      protocol,
    })),
    endpoints: targets.map(({ addresses }) => ({ addresses: [addresses[family]] })),
  }));

export const nodeObject = (remote: RemoteNode): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: remote.node },
  spec: { podCIDRs: [...remote.podCidrs] },
  status: { addresses: remote.addresses.map((address) => ({ type: 'InternalIP', address })) },
});
