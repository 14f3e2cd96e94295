/** A node with 1,000 identities and many policies: the agent's informers, compiler, plan, programs and maps. */
import { ENDPOINT_SLICE, NAMESPACE, NETWORK_POLICY, NODE, POD, SERVICE } from '../src/api/kinds.ts';
import type { NetworkPolicy, Pod } from '../src/api/types.ts';
import { createFakeClient } from '../src/client/fake.ts';
import { createInformer } from '../src/client/informer.ts';
import {
  createDatapathController,
  type DatapathController,
  type DatapathOutcome,
} from '../src/controllers/node/datapath.ts';
import { createPlan } from '../src/datapath/plan/plan.ts';
import { openEbpfWith } from '../src/datapath/testing/ebpf.ts';
import { createLab, type LabPod } from '../src/datapath/testing/lab.ts';
import { writeSysctl } from '../src/kernel/sysctl.ts';
import { systemClock } from '../src/lib/clock.ts';
import { silentLog } from '../src/lib/log.ts';
import { createCompiler } from '../src/policy/compile.ts';
import { worldNamespace, worldPod } from '../src/policy/from-objects.ts';
import type { Cleanup } from './services.ts';

export const IDENTITIES = 1000;
export const POLICIES = 10_000;
/** Of the default namespace, where the lab's pods are. */
const NAMESPACE_NAME = 'default';
const REAL = ['a', 'b'] as const;
const PORTS_OF_A_POD = 20;

/** Every pod is of this node, so that all policies are its own. The first are real. */
const podOf = (i: number, node: string, real: readonly LabPod[]): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: NAMESPACE_NAME, name: real[i]?.name ?? `pod-${i}`, labels: { app: `app-${i}` } },
  spec: { nodeName: node, containers: [{ name: 'main', image: 'none' }] },
  status: { podIPs: [{ ip: real[i]?.addresses[0] ?? `10.245.${i >> 8}.${i & 255}` }] },
});

/** Ten for each pod, each for a port of one peer; the first one is that of the two real pods. */
export const policyOf = (
  i: number,
  port = 7000 + (Math.floor(i / IDENTITIES) % PORTS_OF_A_POD),
): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: NAMESPACE_NAME, name: `policy-${i}` },
  spec: {
    podSelector: { matchLabels: { app: `app-${(i + 1) % IDENTITIES}` } },
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [{ podSelector: { matchLabels: { app: `app-${i % IDENTITIES}` } } }],
        ports: [{ protocol: 'TCP', port }],
      },
    ],
  },
});

export interface PolicyBench {
  /** Milliseconds from the first look at the objects to the kernel having all of them. */
  readonly loadMs: number;
  readonly pods: readonly LabPod[];
  /** Milliseconds from the change of one policy as it is heard of, to the kernel. */
  change(): Promise<number>;
  readonly controller: DatapathController;
}

export async function openPolicies(t: Cleanup, count: number): Promise<PolicyBench> {
  const [node] = createLab(t, 1).nodes;
  if (!node) throw new Error('the lab has no node');
  const pods = REAL.map((name) => node.addPod(name));
  for (const { ns } of pods) writeSysctl(ns, 'net/ipv4/tcp_tw_reuse', '1');
  const client = createFakeClient();
  await client.create(NAMESPACE, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE_NAME } });
  for (let i = 0; i < IDENTITIES; i++) await client.create(POD, podOf(i, node.name, pods));
  for (let i = 0; i < count; i++) await client.create(NETWORK_POLICY, policyOf(i));
  const options = { log: silentLog };
  const informers = {
    services: createInformer(client, SERVICE, options),
    slices: createInformer(client, ENDPOINT_SLICE, options),
    nodes: createInformer(client, NODE, options),
    policies: createInformer(client, NETWORK_POLICY, options),
    namespaces: createInformer(client, NAMESPACE, { ...options, keep: worldNamespace }),
    pods: createInformer(client, POD, { ...options, keep: worldPod }),
  };
  const stop = new AbortController();
  const backend = openEbpfWith({ maxEntries: { policy_entries: 65_536 }, parts: () => [] })(t, node);
  let done = Promise.withResolvers<DatapathOutcome>();
  const controller = createDatapathController({
    node: node.name,
    informers,
    plan: createPlan({ node: node.name }),
    backend,
    settings: node.settings,
    compile: createCompiler(),
    localPods: () =>
      node
        .pods()
        .map((pod) => ({ ...pod, uid: informers.pods.get(`${pod.namespace}/${pod.name}`)?.uid ?? '' })),
    nodeLocal: [],
    clock: systemClock,
    log: silentLog,
    record: (outcome) => done.resolve(outcome),
  });
  const running = Object.values(informers).map((informer) => informer.run(stop.signal));
  await Promise.all(Object.values(informers).map((informer) => informer.synced()));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const began = performance.now();
  running.push(controller.run(stop.signal));
  t.after(async () => {
    stop.abort();
    await Promise.all(running);
  });
  await controller.ready();
  const loadMs = performance.now() - began;
  let round = 0;
  return {
    loadMs,
    pods,
    controller,
    async change() {
      const i = 1 + ((++round * 37) % Math.max(1, count - 1));
      done = Promise.withResolvers();
      const heard = Promise.withResolvers<number>();
      let isChanged = false;
      // What is there already is told of too.
      const forget = informers.policies.onChange(() => isChanged && heard.resolve(performance.now()));
      isChanged = true;
      await client.update(NETWORK_POLICY, policyOf(i, 9000 + (round % 1000)));
      const outcome = await done.promise;
      const end = performance.now();
      forget();
      if (outcome.step !== 'apply') throw new Error(`the change was not applied: ${outcome.step}`);
      return end - (await heard.promise);
    },
  };
}
