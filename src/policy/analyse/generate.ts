/** Least-privilege NetworkPolicies out of a declared call graph, and what they would allow beside it or lack. */
import { NAMESPACE_NAME } from '../../api/labels.ts';
import type { NetworkPolicy } from '../../api/types.ts';
import { compareText } from '../model.ts';
import type { PortProtocol } from '../world.ts';
import { connectivity, isWorkload, type Party, partyText } from './connectivity.ts';
import { type Estate, type Workload, workloadKey } from './estate.ts';
import { labelsOf, type PeerInput, selectorOfLabels, workloadPeer } from './identify.ts';
import { createPortSets, LAST_PORT, type PortSet, type PortSets, PROTOCOLS } from './port-set.ts';

export interface Call {
  /** An address range (CIDR) is outside; at most one end is. */
  readonly from: Workload | { readonly cidr: string };
  readonly to: Workload | { readonly cidr: string };
  /** Null: every port. */
  readonly ports: readonly CallPort[] | null;
}

export interface CallPort {
  readonly protocol: PortProtocol;
  readonly first: number;
  readonly last: number;
}

export interface GenerateOptions {
  /** Every workload may ask the cluster's DNS (kube-dns in kube-system). */
  readonly dns?: boolean;
}

export interface Generated {
  readonly policies: readonly NetworkPolicy[];
  /** Pairs of workloads that would be connected otherwise than declared. */
  readonly differences: readonly Difference[];
  /** Workloads that no policy can select: they are on their node's network. */
  readonly beyond: readonly Workload[];
}

export interface Difference {
  readonly src: Party;
  readonly dst: Party;
  readonly declared: PortSet;
  readonly allowed: PortSet;
}

/** One policy for each workload, in the order of the estate. Policies of the estate are not looked at. */
export function generate(estate: Estate, calls: readonly Call[], options: GenerateOptions = {}): Generated {
  const beyond = estate.workloads.filter(({ pods }) => pods.every(({ hostNetwork }) => hostNetwork === true));
  const names = new Map<string, number>();
  for (const workload of estate.workloads) {
    const key = `${workload.namespace}/${workload.name}`;
    names.set(key, (names.get(key) ?? 0) + 1);
  }
  const nameOf = ({ namespace, name, kind }: Workload): string =>
    names.get(`${namespace}/${name}`) === 1 ? name : `${name}-${kind.toLowerCase()}`;
  const policies = estate.workloads
    .filter((workload) => !beyond.includes(workload))
    .map((workload) => policyFor(estate, workload, nameOf(workload), calls, options));
  return { policies, differences: compare(estate, policies, calls), beyond };
}

function policyFor(
  estate: Estate,
  workload: Workload,
  name: string,
  calls: readonly Call[],
  { dns = false }: GenerateOptions,
): NetworkPolicy {
  const { namespace } = workload;
  const peer = (party: Call['from']): PeerInput =>
    'cidr' in party ? { ipBlock: { cidr: party.cidr } } : workloadPeer(estate, party, namespace);
  const isSelf = (call: Call): boolean => call.from === call.to;
  const into = calls.filter((call) => call.to === workload);
  const outOf = calls.filter((call) => call.from === workload && !isSelf(call));
  const ingress = rules(into.map(({ from, ports }) => [peer(from), ports]));
  const egress = rules([...outOf, ...into.filter(isSelf)].map(({ to, ports }) => [peer(to), ports]));
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace },
    spec: {
      podSelector: selectorOfLabels(labelsOf(estate, workload)) as never,
      policyTypes: ['Ingress', 'Egress'],
      ingress: ingress.map(([from, ports]) => ({ from, ...ports })) as never,
      egress: [...egress.map(([to, ports]) => ({ to, ...ports })), ...(dns ? [dnsRule] : [])] as never,
    },
  };
}

const dnsRule = {
  to: [
    {
      namespaceSelector: { matchLabels: { [NAMESPACE_NAME]: 'kube-system' } },
      podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } },
    },
  ],
  ports: [
    { protocol: 'UDP', port: 53 },
    { protocol: 'TCP', port: 53 },
  ],
};

type PortsField = { readonly ports?: readonly object[] };

/** Peers with the same ports share a rule; a peer that is named twice is there once. */
function rules(wanted: readonly (readonly [PeerInput, Call['ports']])[]): [PeerInput[], PortsField][] {
  const byPorts = new Map<string, [Map<string, PeerInput>, PortsField]>();
  for (const [peer, ports] of wanted) {
    const field = ports === null ? {} : { ports: ports.map(portField) };
    const key = JSON.stringify(field);
    const known = byPorts.get(key) ?? [new Map<string, PeerInput>(), field];
    known[0].set(JSON.stringify(peer), peer);
    byPorts.set(key, known);
  }
  return [...byPorts]
    .sort(([a], [b]) => compareText(a, b))
    .map(([, [peers, field]]) => [[...peers.values()], field]);
}

const portField = ({ protocol, first, last }: CallPort): object => ({
  protocol,
  ...(first <= 1 && last === LAST_PORT ? {} : { port: first, ...(last > first ? { endPort: last } : {}) }),
});

/** Workloads only: what is declared of the outside is written as it is. */
function compare(estate: Estate, policies: readonly NetworkPolicy[], calls: readonly Call[]): Difference[] {
  const sets = createPortSets();
  const declared = new Map<string, { src: Workload; dst: Workload; set: PortSet }>();
  const key = (src: Workload, dst: Workload) => `${workloadKey(src)} ${workloadKey(dst)}`;
  for (const { from, to, ports } of calls) {
    if ('cidr' in from || 'cidr' in to || from === to) continue;
    const known = declared.get(key(from, to))?.set ?? sets.none;
    declared.set(key(from, to), { src: from, dst: to, set: sets.or(known, portSet(ports, sets)) });
  }
  const differences: Difference[] = [];
  for (const { src, dst, set } of connectivity(
    { ...estate, world: { ...estate.world, policies } },
    { sets },
  )) {
    if (!isWorkload(src) || !isWorkload(dst)) continue;
    const wanted = declared.get(key(src, dst))?.set ?? sets.none;
    declared.delete(key(src, dst));
    if (wanted !== set) differences.push({ src, dst, declared: wanted, allowed: set });
  }
  for (const { src, dst, set } of declared.values())
    if (set !== sets.none) differences.push({ src, dst, declared: set, allowed: sets.none });
  return differences.sort((a, b) => compareText(partyText(a.src), partyText(b.src)));
}

export function portSet(ports: readonly CallPort[] | null, sets: PortSets): PortSet {
  if (ports === null) return sets.all;
  return sets.of(
    PROTOCOLS.map((protocol) =>
      ports.filter((port) => port.protocol === protocol).map(({ first, last }) => [first, last] as const),
    ),
  );
}
