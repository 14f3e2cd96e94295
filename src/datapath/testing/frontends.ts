/** What a service should be, said once for all nodes, and the frontends that each node has of it. */
import type {
  BackendAddress,
  BalanceAlgorithm,
  FrontendKind,
  PortProtocol,
  ServiceFrontend,
} from '../plan/tables.ts';
import type { LabNode, LabPod } from './lab.ts';

export interface FrontendWish {
  readonly kind: FrontendKind;
  /** IPv4, IPv6. Of NodePort none: each node has its own. */
  readonly addresses?: readonly [string, string];
  readonly protocol?: PortProtocol;
  readonly port: number;
  /** Default 8080 for TCP, 8081 for UDP, which `serveAll` answers. */
  readonly target?: number;
  readonly pods: readonly LabPod[];
  /** `externalTrafficPolicy: Local`; of a cluster address the internal one. */
  readonly local?: boolean;
  readonly whenEmpty?: 'refuse' | 'drop';
  readonly algorithm?: BalanceAlgorithm;
  readonly affinitySeconds?: number;
  readonly sourceRanges?: readonly string[];
  readonly forwarding?: ServiceFrontend['forwarding'];
  /** By the name of a pod. */
  readonly weights?: Readonly<Record<string, number>>;
}

const FAMILIES = [0, 1] as const;

export const TARGETS = { TCP: 8080, UDP: 8081, SCTP: 8082 } as const;

/** Addresses of the `index`-th of LoadBalancer and ExternalIP, which the outside has no route to by itself. */
export const publicAddresses = (index: number): [string, string] => [
  `203.0.113.${index}`,
  `2001:db8:113::${index}`,
];

export const frontendsOn = (node: LabNode, wishes: readonly FrontendWish[]): ServiceFrontend[] =>
  wishes.flatMap((wish) =>
    FAMILIES.flatMap((family) => {
      const address = (wish.kind === 'NodePort' ? node.settings.nodeAddresses : wish.addresses)?.[family];
      return address === undefined ? [] : [frontend(node, wish, family, address)];
    }),
  );

function frontend(node: LabNode, wish: FrontendWish, family: 0 | 1, address: string): ServiceFrontend {
  const { kind, protocol = 'TCP', port, affinitySeconds, sourceRanges, local = false } = wish;
  const backends = backendsOf(node, wish, family);
  const here = backends.filter((each) => each.local);
  const internal = kind === 'ClusterIP';
  return {
    service: `default/${kind.toLowerCase()}-${protocol.toLowerCase()}-${port}`,
    kind,
    address,
    protocol,
    port,
    backends: local && internal ? here : backends,
    ...(local && !internal ? { externalBackends: here } : {}),
    whenEmpty: wish.whenEmpty ?? (local && backends.length > 0 ? 'drop' : 'refuse'),
    algorithm: wish.algorithm ?? 'random',
    ...(affinitySeconds === undefined ? {} : { affinitySeconds }),
    ...(sourceRanges === undefined
      ? {}
      : { sourceRanges: sourceRanges.filter((range) => range.includes(':') === (family === 1)) }),
    forwarding: wish.forwarding ?? 'snat',
  };
}

function backendsOf(node: LabNode, wish: FrontendWish, family: 0 | 1): BackendAddress[] {
  const { pods, target = TARGETS[wish.protocol ?? 'TCP'], weights = {} } = wish;
  return pods
    .map(({ name, addresses, node: home }) => ({
      address: addresses[family],
      port: target,
      ...(weights[name] === undefined ? {} : { weight: weights[name] }),
      ...(home === node.name ? { local: true } : {}),
    }))
    .sort((a, b) => (a.address < b.address ? -1 : 1));
}
