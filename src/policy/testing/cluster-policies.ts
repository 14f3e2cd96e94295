/** Random policies of the cluster-wide languages; some have peers of a kind that nobody knows. */
import fc from 'fast-check';
import type {
  AdminNetworkPolicy,
  AdminPolicyRule,
  BaselineAdminNetworkPolicy,
  ClusterNetworkPolicy,
  ClusterNetworkPolicyRule,
  ClusterPolicyPeer,
} from '../../api/types.ts';
import type { LabelSelector } from '../../api/selector.ts';

/** The alphabets of the world that the policies are for. */
export interface Alphabet {
  readonly pods: fc.Arbitrary<LabelSelector>;
  readonly namespaces: fc.Arbitrary<LabelSelector>;
  readonly nodes: fc.Arbitrary<LabelSelector>;
  readonly networks: readonly string[];
  readonly ports: fc.Arbitrary<number>;
  readonly names: readonly string[];
}

type Wire<T> = fc.Arbitrary<T>;

/** The generated types of selectors are mutable; nobody changes these. */
const mutable = <T>(arbitrary: fc.Arbitrary<unknown>) => arbitrary as fc.Arbitrary<T>;

export function clusterPolicies(alphabet: Alphabet) {
  const { ports, names } = alphabet;
  const pods = mutable<ClusterPolicyPeer>(
    fc.oneof(
      fc.record({ namespaces: alphabet.namespaces }),
      fc.record({
        pods: fc.record({ namespaceSelector: alphabet.namespaces, podSelector: alphabet.pods }),
      }),
    ),
  );
  const places = mutable<ClusterPolicyPeer>(
    fc.oneof(
      fc.record({ nodes: alphabet.nodes }),
      fc.record({
        networks: fc.uniqueArray(fc.constantFrom(...alphabet.networks), { minLength: 1, maxLength: 3 }),
      }),
    ),
  );
  const unknown = fc.constant<ClusterPolicyPeer>({});
  const often = <T>(arbitrary: fc.Arbitrary<T>) => ({ weight: 12, arbitrary });
  const range = fc
    .tuple(ports, fc.integer({ min: 1, max: 400 }))
    .map(([start, more]) => ({ start: Math.min(start, 65_000), end: Math.min(start, 65_000) + more }));
  const name = fc.constantFrom(...names);
  const protocol = fc.constantFrom('TCP', 'UDP', 'SCTP');

  const adminPort = fc.oneof(
    ports.map((port) => ({ portNumber: { port } })),
    fc.record({ portNumber: fc.record({ protocol, port: ports }) }),
    fc.tuple(protocol, range).map(([of, between]) => ({ portRange: { protocol: of, ...between } })),
    name.map((namedPort) => ({ namedPort })),
  );
  const clusterPort = fc.oneof(
    fc
      .tuple(
        fc.constantFrom('tcp', 'udp', 'sctp'),
        fc.oneof(
          ports.map((number) => ({ number })),
          range.map((r) => ({ range: r })),
        ),
      )
      .map(([of, destinationPort]) => ({ [of]: { destinationPort } })),
    name.map((destinationNamedPort) => ({ destinationNamedPort })),
  );

  const some = <T>(one: fc.Arbitrary<T>) => fc.array(one, { minLength: 1, maxLength: 2 });
  /** Of the parts of a rule: its direction decides under which name, and which peers. */
  const rules = <R>(
    side: 'from' | 'to',
    actions: readonly string[],
    portsName: string,
    port: fc.Arbitrary<unknown>,
  ) =>
    mutable<R[]>(
      fc.array(
        fc
          .tuple(
            fc.constantFrom(...actions),
            some(
              side === 'from'
                ? fc.oneof(often(pods), unknown)
                : fc.oneof(often(pods), often(places), unknown),
            ),
            fc.option(some(port), { nil: undefined }),
          )
          .map(([action, peers, list]) => ({
            action,
            [side]: peers,
            ...(list ? { [portsName]: list } : {}),
          })),
        { maxLength: 3 },
      ),
    );
  const subject = pods;
  const priority = fc.constantFrom(0, 1, 1, 7, 1000);
  const adminRules = (actions: readonly string[]) => ({
    ingress: rules<AdminPolicyRule>('from', actions, 'ports', adminPort),
    egress: rules<AdminPolicyRule>('to', actions, 'ports', adminPort),
  });

  const admin = (n: number): Wire<AdminNetworkPolicy> =>
    fc.record({ priority, subject, ...adminRules(['Allow', 'Deny', 'Deny', 'Pass']) }).map((spec) => ({
      apiVersion: 'policy.networking.k8s.io/v1alpha1',
      kind: 'AdminNetworkPolicy',
      metadata: { name: `policy-${n}` },
      spec,
    }));
  const baseline: Wire<BaselineAdminNetworkPolicy> = fc
    .record({ subject, ...adminRules(['Allow', 'Deny']) })
    .map((spec) => ({
      apiVersion: 'policy.networking.k8s.io/v1alpha1',
      kind: 'BaselineAdminNetworkPolicy',
      metadata: { name: 'default' },
      spec,
    }));
  const actions = ['Accept', 'Deny', 'Deny', 'Pass'];
  const cluster = (n: number): Wire<ClusterNetworkPolicy> =>
    fc
      .record({
        tier: fc.constantFrom('Admin', 'Baseline'),
        priority,
        subject,
        ingress: rules<ClusterNetworkPolicyRule>('from', actions, 'protocols', clusterPort),
        egress: rules<ClusterNetworkPolicyRule>('to', actions, 'protocols', clusterPort),
      })
      .map((spec) => ({
        apiVersion: 'policy.networking.k8s.io/v1alpha2',
        kind: 'ClusterNetworkPolicy',
        metadata: { name: `policy-${n}` },
        spec,
      }));
  return { admin, baseline, cluster };
}
