/** One round of the demo on a running cluster: what there is, what is tried, what came of it. */
import {
  ADMIN_NETWORK_POLICY,
  apiVersionOf,
  BASELINE_ADMIN_NETWORK_POLICY,
  CALICO_NETWORK_POLICY,
  CILIUM_CIDR_GROUP,
  CILIUM_CLUSTERWIDE_NETWORK_POLICY,
  CILIUM_NETWORK_POLICY,
  CLUSTER_NETWORK_POLICY,
  ENDPOINT_SLICE,
  GLOBAL_NETWORK_POLICY,
  GLOBAL_NETWORK_SET,
  type Kind,
  NAMESPACE,
  NETWORK_POLICY,
  NETWORK_SET,
  NODE,
  POD,
  REPLICA_SET,
  SERVICE,
  SERVICE_ACCOUNT,
  TIER,
} from '../api/kinds.ts';
import type { KubeObject } from '../api/types.ts';
import type { Client } from '../client/types.ts';
import { parseCidr } from '../lib/ip.ts';
import { createDecider } from '../policy/decide.ts';
import { worldFromObjects } from '../policy/from-objects.ts';
import { type Attempt, attempts, workloads } from './attempts.ts';
import { type Judgement, judge } from './judge.ts';
import { outsideAttempts } from './outside.ts';
import { type ProbeDeps, observe } from './probe.ts';

export interface RoundDeps {
  client: Client;
  agentSocket(node: string): string;
  clusterDomain: string;
  nodeLocal: readonly string[];
  /** Of pods, services and nodes: everything else is outside. */
  clusterRanges: readonly string[];
  signal: AbortSignal;
  /** Attempts beyond this many are left out, and the result says so. */
  maxAttempts: number;
  onProgress(done: number, total: number): void;
}

export interface Round {
  readonly judgements: readonly Judgement[];
  /** Attempts that the limit left out. */
  readonly leftOut: number;
}

/** Milliseconds that a connection may take before it counts as not made. */
const PROBE_TIMEOUT = 1000;

/** System namespaces hold no workload of the user. */
const isUsers = (object: { metadata: { namespace?: string } }): boolean =>
  !(object.metadata.namespace ?? '').startsWith('kube-');

/** In lists objects need not say what they are. */
const typed = <T>(kind: Kind<T>, items: readonly T[]) =>
  items.map((item) => ({ ...(item as KubeObject), apiVersion: apiVersionOf(kind), kind: kind.kind }));

async function read(client: Client) {
  const all = async <T>(kind: Kind<T>): Promise<T[]> => (await client.list(kind)).items;
  const [pods, replicaSets, services, slices, namespaces, nodes, policies, ...ofCluster] = await Promise.all([
    all(POD),
    all(REPLICA_SET),
    all(SERVICE),
    all(ENDPOINT_SLICE),
    all(NAMESPACE),
    all(NODE),
    all(NETWORK_POLICY),
    all(ADMIN_NETWORK_POLICY),
    all(BASELINE_ADMIN_NETWORK_POLICY),
    all(CLUSTER_NETWORK_POLICY),
    all(CALICO_NETWORK_POLICY),
    all(GLOBAL_NETWORK_POLICY),
    all(CILIUM_NETWORK_POLICY),
    all(CILIUM_CLUSTERWIDE_NETWORK_POLICY),
  ]);
  const [serviceAccounts, ...others] = await Promise.all([
    all(SERVICE_ACCOUNT),
    all(TIER),
    all(NETWORK_SET),
    all(GLOBAL_NETWORK_SET),
    all(CILIUM_CIDR_GROUP),
  ]);
  return {
    pods,
    replicaSets,
    services,
    slices,
    namespaces,
    nodes,
    policies,
    serviceAccounts,
    ofCluster: ofCluster.flat(),
    others: [...others.flat(), ...typed(SERVICE, services), ...typed(ENDPOINT_SLICE, slices)],
  };
}

/** Attempts evenly spread over the list, so that a limit leaves no workload out altogether. */
function sample(all: readonly Attempt[], limit: number): Attempt[] {
  if (all.length <= limit) return [...all];
  return Array.from({ length: limit }, (_, i) => all[Math.floor((i * all.length) / limit)]).flatMap(
    (a) => a ?? [],
  );
}

export async function round(deps: RoundDeps): Promise<Round> {
  const objects = await read(deps.client);
  const policies = [...objects.policies, ...objects.ofCluster];
  const world = worldFromObjects({ ...objects, policies, nodeLocal: deps.nodeLocal });
  const decide = createDecider(world);
  const users = {
    pods: objects.pods.filter(isUsers),
    replicaSets: objects.replicaSets,
    services: objects.services.filter(isUsers),
    slices: objects.slices.filter(isUsers),
  };
  const all = [
    ...attempts(users, deps.clusterDomain),
    ...outsideAttempts(workloads(users), world, deps.clusterRanges.map(parseCidr), decide),
  ];
  const chosen = sample(all, deps.maxAttempts);
  const probe: ProbeDeps = {
    agentSocket: deps.agentSocket,
    nodes: objects.nodes.map(({ metadata }) => metadata.name),
    timeoutMs: PROBE_TIMEOUT,
    signal: deps.signal,
  };
  const observed = await observe(chosen, probe, (done) => deps.onProgress(done, chosen.length));
  const judgements = observed.map(({ attempt, observation }) => judge(decide, attempt, observation));
  return { judgements, leftOut: all.length - chosen.length };
}
